"""Compares the Python reader with the C reader, version by version. Arguments: the C program, redis' socket."""

import json
import subprocess
import sys
import time

import numpy
import redis
import xxhash

import freshet

TOLERANCE = 2e-6  # numpy sums in another order


def check(what, condition):
    if not condition:
        sys.exit(f"python_reader: {what}")


def refuses(reader, error):
    try:
        reader.follow()
    except error:
        return True
    return False


def compare(model, answer):
    slots = {slot["name"]: s for s, slot in enumerate(model.slots)}
    impressions = [{"price": i["numbers"][0], "age": i["numbers"][1], "keys": i["keys"]}
                   for i in answer["impressions"]]

    def keys(_, slot, impression):
        if "categorical" in slot:
            return impression["keys"][slot["categorical"]]
        return model.keys(slot, impression)

    check("the slots", list(slots)[:4] == ["user", "item", "tags", "price_bucket"])
    conditional, products = model.score(impressions, keys)
    for name, scores in (("conditional", conditional), ("products", products)):
        expected = numpy.array(answer[name], numpy.float32).reshape(scores.shape)
        # Probabilities absolutely, values relatively.
        worst = float((numpy.abs(scores - expected) / numpy.maximum(1, numpy.abs(expected))).max())
        check(f"{name} differ by {worst}", worst < TOLERANCE)
        check(f"{name} are all alike", float(expected.std()) > 1e-3)


class Program:
    """The C program, publishing a model of `body` into an empty Redis."""

    def __init__(self, program, client, element, body):
        client.flushall()
        self.process = subprocess.Popen([program, client.connection_pool.connection_kwargs["path"], element, body],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def publish(self, kind):
        self.process.stdin.write(kind + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self):
        self.process.stdin.close()
        check("the program ends well", self.process.wait(10) == 0)


def run(path, client, element):
    program = Program(path, client, element, "ple")
    publish = program.publish
    reader = freshet.Reader(client, "test")
    check("nothing is published yet", not reader.follow(0.05))
    for number in range(1, 14):
        answer = publish("base" if number in (1, 9) else "delta")
        check("a version is announced", reader.follow(2))
        check("the version", reader.version == (answer["epoch"], answer["number"]) == (1, number))
        check("the tick", reader.manifest["tick"] == answer["tick"])
        check("the metrics", reader.manifest["metrics"] == {"auc": 0.5})
        check("the rows", sum(map(len, reader.model.rows)) == answer["rows"] == reader.manifest["rows"])
        compare(reader.model, answer)
        if number % 4 == 0:
            fresh = freshet.Reader(client, "test")
            check("a bootstrap", fresh.follow())
            for own, other in zip(reader.model.rows, fresh.model.rows):
                check("the keys", own.keys() == other.keys())
                check("the vectors", all(numpy.array_equal(own[key], other[key]) for key in own))
    tombstones = sum(part["tombstones"] for part in reader.manifest["deltas"])
    check("rows expire in this stream", tombstones > 0)
    check("nothing new", not reader.follow(0.05))

    begin = time.monotonic()
    check("the wait ends", not reader.follow(0.3) and 0.25 < time.monotonic() - begin < 2)
    program.end()


def bodies(path, client):
    """Every body scores as in C; an unknown one is refused."""
    seen = set()
    for body in sorted(freshet.BODIES, key=lambda name: name == "ple"):  # PLE last: what refusals() reads
        program = Program(path, client, "fp32", body)
        reader = freshet.Reader(client, "test")
        for kind in ("base", "delta"):
            answer = program.publish(kind)
            check(f"{body} is followed", reader.follow(2))
            check("the body", reader.model.descriptor["body"]["kind"] == body)
            compare(reader.model, answer)
        program.end()
        seen.add(tuple(answer["products"]))
        for wrong in ({"kind": "sluice"}, {"skip": True}):
            descriptor = dict(reader.model.descriptor, body=dict(reader.model.descriptor["body"], **wrong))
            try:
                freshet.Model(descriptor)
                check(f"{wrong} is refused", False)
            except freshet.FormatError:
                pass
    check("no two bodies score alike", len(seen) == len(freshet.BODIES) == 9)


def losses(path, client):
    """Values, a stage in two branches, an imputed error: as in C; what is not known of a task is refused."""
    for form, field, unknown in (("values", "loss", "huber"), ("esm2", "branch", None), ("imputed", "imputed", None)):
        program = Program(path, client, "fp32", form)
        reader = freshet.Reader(client, "test")
        for kind in ("base", "delta"):
            answer = program.publish(kind)
            check(f"{form} is followed", reader.follow(2))
            compare(reader.model, answer)
        program.end()
        tasks = reader.model.descriptor["tasks"]
        check(f"{form} says {field}", field in tasks[1])
        for wrong in [{"curve": 1}] + ([{field: unknown}] if unknown else []):
            try:
                freshet.Model(dict(reader.model.descriptor, tasks=[tasks[0], dict(tasks[1], **wrong), *tasks[2:]]))
                check(f"{wrong} is refused", False)
            except freshet.FormatError:
                pass


def features(path, client):
    """Crosses and positions: as in C; what is not known of a slot is refused."""
    program = Program(path, client, "fp32", "features")
    reader = freshet.Reader(client, "test")
    for kind in ("base", "delta", "delta", "delta"):
        answer = program.publish(kind)
        check("crosses are followed", reader.follow(2))
        compare(reader.model, answer)
    program.end()
    descriptor = reader.model.descriptor
    slots = descriptor["slots"]
    check("the format", descriptor["format"] == 2)
    crosses = [s for s, slot in enumerate(slots) if "cross" in slot]
    check("crosses have rows", len(crosses) == 2 and all(len(reader.model.rows[s]) > 10 for s in crosses))
    place, = [s for s, slot in enumerate(slots) if "serving" in slot]
    bias = reader.model.rows[place][int(slots[place]["serving"], 16)][0]
    check("a position is scored", reader.model.bias() == bias != 0)
    reader.model.rows[place].clear()
    check("then the absent one's", 0 != reader.model.bias() != bias)
    cross = crosses[0]
    derived = [slot for slot in slots if "cross" in slot or "role" in slot]
    changes = [(cross, {"cross": places}) for places in ([0], [0, 0], [0, len(slots)], [0, cross], [0, place])]
    changes += [(place, {"dimension": 8}), (place, {"serving": "1"}), (place, {"serving": "A" * 16})]
    for wrong in ({"slots": [*slots[:-1], dict(slots[-1], curve=1)]}, {"format": 1}, {"format": 3},
                  {"slots": [slot for slot in slots if slot not in derived]},
                  *({"slots": [*slots[:s], dict(slots[s], **change), *slots[s + 1:]]} for s, change in changes),
                  {"slots": [*slots[:-1], dict(slots[-1], role="x")]},
                  {"slots": [{key: slots[0][key] for key in ("name", "dimension", "pooling")}, *slots[1:]]}):
        try:
            freshet.Model(dict(descriptor, **wrong))
            check(f"{wrong} is refused", False)
        except freshet.FormatError:
            pass


def refusals(client):
    """Any damage to any key that head refers to is refused, and mended by a repair."""
    reader = freshet.Reader(client, "test")
    check("a bootstrap", reader.follow())
    referred = [key for key in client.scan_iter("{freshet:test}:*")
                if client.ttl(key) == -1 and not key.endswith((b":epoch", b":versions", b":head"))]
    check("there are keys", len(referred) > 10)
    for key in referred:
        value = client.get(key)
        middle = len(value) // 2
        damages = ((None, freshet.MissingKey), (value[:-1], freshet.FormatError),
                   (value[:middle] + bytes([value[middle] ^ 1]) + value[middle + 1:], freshet.FormatError))
        for damaged, error in damages:
            client.delete(key) if damaged is None else client.set(key, damaged)
            fresh = freshet.Reader(client, "test")
            check(f"{key} damaged is refused", refuses(fresh, error) and fresh.model is None)
            client.set(key, value)
            check(f"{key} repaired is read", fresh.follow())
    head = client.get("{freshet:test}:head")
    client.set("{freshet:test}:head", b"1.1 " + head[-16:])
    check("an older version is refused", refuses(reader, freshet.OlderVersion))


def known_values():
    """Keys by the documentation: the value's bytes, seeded with the hash of the slot's name."""
    salt = xxhash.xxh3_64_intdigest(b"user")
    check("a text's key", freshet.slot_key("user", "u1") == xxhash.xxh3_64_intdigest(b"u1", salt))
    check("a number's key", freshet.slot_key("user", 7) == xxhash.xxh3_64_intdigest(bytes([7] + [0] * 7), salt))
    first, second = freshet.slot_key("a", "x"), freshet.slot_key("b", 3)
    packed = first.to_bytes(8, "little") + second.to_bytes(8, "little")
    check("a cross' key", freshet.cross_keys("user", [[first], [second]]) == [xxhash.xxh3_64_intdigest(packed, salt)])
    check("a cross' bound", len(freshet.cross_keys("user", [range(40), range(40)])) == 1024)
    check("no combination", freshet.cross_keys("user", [[first], []]) == [])
    check("a negative number's key", freshet.slot_key("user", -1) == xxhash.xxh3_64_intdigest(b"\xff" * 8, salt))


def main():
    program, socket = sys.argv[1:]
    client = redis.Redis(unix_socket_path=socket)
    known_values()
    for element in ("fp32", "fp16"):
        run(program, client, element)
    losses(program, client)
    features(program, client)
    bodies(program, client)
    refusals(client)
    print("python_reader: the Python reader agrees with the C reader")


main()
