#!/usr/bin/env python3
"""Writes evolution.jsonl: pairs of writer and reader schemas, a record, and what fastavro reads of it.

    pip install fastavro==1.13.1 && ./generate.py > evolution.jsonl

Each line: writer, reader, fingerprint (CRC-64-AVRO of the writer, as fastavro computes it), data (hex), error
(resolution fails, at the start or in the data), targets. A target has a path of the reader's, a role, and what
must be found: null, a number, or a list of keys, each {"i": integer} or {"x": hex bytes}.
"""
import copy
import io
import json
import random

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

CASES = 800
PRIMITIVES = ["boolean", "int", "long", "float", "double", "bytes", "string"]
NUMBERS = ["int", "long", "float", "double"]
rng = random.Random(20240229)


class Maker:
    """Random schemas; named types get numbered names."""

    def __init__(self):
        self.names = 0

    def name(self):
        self.names += 1
        return "N%d" % self.names

    def type(self, depth):
        kind = rng.randrange(14 if depth < 3 else 8)
        if kind < 7:
            return rng.choice(PRIMITIVES)
        if kind == 7:
            symbols = rng.sample(["a", "b", "c", "d"], rng.randint(1, 4))
            return {"type": "enum", "name": self.name(), "symbols": symbols}
        if kind == 8:
            return {"type": "fixed", "name": self.name(), "size": rng.randint(1, 5)}
        if kind == 9:
            return {"type": "array", "items": self.type(depth + 1)}
        if kind == 10:
            return {"type": "map", "values": self.type(depth + 1)}
        if kind in (11, 12):
            branches = rng.sample(["null"] + PRIMITIVES, rng.randint(1, 3))
            if "null" not in branches and rng.random() < 0.6:
                branches.insert(0, "null")
            if rng.random() < 0.3 and depth < 3:
                branches.append(self.record(depth + 1))
            return branches
        return self.record(depth + 1)

    def record(self, depth):
        fields = [{"name": "f%d" % i, "type": self.type(depth + 1)} for i in range(rng.randint(1, 5))]
        return {"type": "record", "name": self.name(), "fields": fields}


def value_of(schema):
    """A random datum."""
    if isinstance(schema, list):
        branch = rng.choice(schema)
        value = value_of(branch)
        return (branch["name"], value) if isinstance(branch, dict) and branch["type"] == "record" else value
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return {f["name"]: value_of(f["type"]) for f in schema["fields"]}
    if kind == "array":
        return [value_of(schema["items"]) for _ in range(rng.randrange(4))]
    if kind == "map":
        keys = rng.sample(["k", "key", "x.y"], rng.randrange(4))
        return {k: value_of(schema["values"]) for k in keys}
    if kind == "enum":
        return rng.choice(schema["symbols"])
    if kind == "fixed":
        return bytes(rng.randrange(256) for _ in range(schema["size"]))
    return {
        "null": lambda: None,
        "boolean": lambda: rng.random() < 0.5,
        # Small enough for a float to hold: fastavro does not round an integer that it reads as one.
        "int": lambda: rng.randint(-1 << 23, 1 << 23),
        "long": lambda: rng.randint(-1 << 23, 1 << 23),
        "float": lambda: rng.randint(-1000, 1000) / 8,
        "double": lambda: rng.random() * 1000,
        "bytes": lambda: bytes(rng.choice(b"abcxyz") for _ in range(rng.randrange(6))),
        "string": lambda: "".join(rng.choice("abcxyz") for _ in range(rng.randrange(6))),
    }[kind]()


def default_of(schema):
    """A JSON default for a type that a new field may have."""
    return {
        "boolean": True, "int": 7, "long": -8, "float": 1.5, "double": 2.25, "string": "new",
    }[schema]


def evolve(schema, maker):
    """What a later reader may have made of a writer's type."""
    dice = rng.random()
    if isinstance(schema, list):
        out = [evolve(b, maker) if rng.random() < 0.3 else b for b in schema]
        if dice < 0.2 and len(out) > 1:
            out.pop(rng.randrange(len(out)))
        elif dice < 0.3:
            out.reverse()
        elif dice < 0.4:
            extra = rng.choice([p for p in PRIMITIVES if p not in out] or ["null"])
            out = out + [extra] if extra not in out else out
        seen, unique = set(), []
        for b in out:
            if isinstance(b, list):
                continue
            key = b if isinstance(b, str) else b["type"] if b["type"] in ("array", "map") else b["name"]
            if key not in seen:
                seen.add(key)
                unique.append(b)
        return unique or schema
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return evolve_record(schema, maker)
    if kind == "array":
        return {"type": "array", "items": evolve(schema["items"], maker)}
    if kind == "map":
        return {"type": "map", "values": evolve(schema["values"], maker)}
    if kind == "enum":
        out = copy.deepcopy(schema)
        if dice < 0.3:
            out["symbols"] = rng.sample(["a", "b", "c", "d"], rng.randint(1, 4))
            if rng.random() < 0.5:
                out["default"] = rng.choice(out["symbols"])
        return out
    if kind == "fixed":
        return dict(schema, size=schema["size"] + 1) if dice < 0.05 else schema
    if dice < 0.12 and kind in NUMBERS:
        return rng.choice(NUMBERS)
    if dice < 0.2 and kind in ("bytes", "string"):
        return "string" if kind == "bytes" else "bytes"
    if dice < 0.27:
        return ["null", kind] if kind != "null" else ["null", "string"]
    if dice < 0.29:
        return rng.choice(PRIMITIVES)
    return schema


def evolve_record(schema, maker):
    fields = []
    for field in schema["fields"]:
        if rng.random() < 0.1:
            continue
        new = {"name": field["name"], "type": evolve(field["type"], maker)}
        if rng.random() < 0.1:
            new["name"] = "r" + field["name"]
            new["aliases"] = [field["name"]]
        fields.append(new)
    for i in range(rng.choice([0, 0, 1, 2])):
        kind = rng.choice(["boolean", "int", "long", "float", "double", "string"])
        new = {"name": "new%d" % i, "type": kind}
        if rng.random() < 0.95:
            new["default"] = default_of(kind)
        if rng.random() < 0.3:
            new["type"] = ["null", kind]
            new["default"] = None
        fields.append(new)
    if rng.random() < 0.3:
        rng.shuffle(fields)
    return {"type": "record", "name": schema["name"], "fields": fields}


def kinds(schema):
    """The leaf types at the end of a path, arrays looked through."""
    if isinstance(schema, list):
        return set().union(*(kinds(b) for b in schema))
    kind = schema["type"] if isinstance(schema, dict) else schema
    return kinds(schema["items"]) if kind == "array" else {kind}


def is_plain(schema):
    """No array, at any branch."""
    branches = schema if isinstance(schema, list) else [schema]
    return not any(isinstance(b, dict) and b["type"] == "array" for b in branches)


def leaves(schema, value, path, out):
    """Paths of the reader's schema with the values that fastavro has read there."""
    if isinstance(schema, dict) and schema["type"] == "record":
        for field in schema["fields"]:
            inner = None if value is None else value[field["name"]]
            leaves(field["type"], inner, path + [field["name"]], out)
    elif isinstance(schema, dict) and schema["type"] == "map":
        deep = kinds(schema["values"]) & {"record", "map"}
        for key in ["k", "key", "none"] if deep else ["k", "key", "x.y", "none"]:
            leaves(schema["values"], None if value is None else value.get(key), path + [key], out)
    elif isinstance(schema, list) and any(isinstance(b, dict) and b["type"] in ("record", "map") for b in schema):
        pass  # which branch was read cannot be told from the value alone
    else:
        out.append((schema, value, ".".join(path)))


def keys_of(value):
    if value is None:
        return []
    if isinstance(value, list):
        return [k for v in value for k in keys_of(v)]
    if isinstance(value, (bool, int)):
        return [{"i": int(value)}]
    data = value.encode() if isinstance(value, str) else value
    return [{"x": data.hex()}]


def targets_of(reader, value):
    out, targets = [], []
    leaves(reader, value, [], out)
    for schema, found, path in out:
        at_end = kinds(schema) - {"null"}
        if not at_end:
            continue
        if at_end <= {"int", "long", "float", "double", "boolean"} and is_plain(schema):
            targets.append({"path": path, "role": "numeric", "find": None if found is None else float(found)})
        if at_end <= {"int", "long", "boolean", "string", "bytes", "enum", "fixed"}:
            targets.append({"path": path, "role": "categorical", "find": keys_of(found)})
    rng.shuffle(targets)
    return targets[:8]


def case():
    maker = Maker()
    writer = maker.record(0)
    reader = evolve_record(writer, maker)
    datum = value_of(writer)
    data = io.BytesIO()
    fastavro.schemaless_writer(data, fastavro.parse_schema(copy.deepcopy(writer)), datum)
    line = {"writer": writer, "reader": reader, "data": data.getvalue().hex(), "error": False, "targets": []}
    line["fingerprint"] = fingerprint(to_parsing_canonical_form(writer), "CRC-64-AVRO")
    try:
        data.seek(0)
        value = fastavro.schemaless_reader(data, copy.deepcopy(writer), copy.deepcopy(reader))
        line["targets"] = targets_of(reader, value)
    except (fastavro.read.SchemaResolutionError, ValueError, StopIteration, KeyError):
        line["error"] = True
    return line


for _ in range(CASES):
    print(json.dumps(case(), separators=(",", ":")))
