"""A model as its descriptor says: rows by key, dense tensors, and the forward pass in numpy."""

import itertools
import re
import struct

import numpy
import xxhash

from .bodies import BODIES, layers
from .chunk import FormatError

BODY_FIELDS = {"kind", "levels", "tower_widths"}
DESCRIPTOR_FIELDS = {"body", "canonical_bytes", "columns", "format", "hashing", "inputs", "numeric_inputs",
                     "slots", "tasks", "tensors"}
SLOT_SOURCES = ({"categorical"}, {"numeric", "boundaries"}, {"cross"})
SLOT_FIELDS = {"name", "dimension", "pooling"}
CROSS_KEYS_MAX = 1024  # combinations of an impression
TASK_FIELDS = {"branch", "imputed", "loss", "name", "parent", "stage"}
LOSSES = {"bce", "mse", "poisson", "ziln"}
SIGMA_MIN, EXPONENT_MAX = numpy.float32(0.1), numpy.float32(25)  # of the log-normal; of expectations
HASHING = "xxh3-64 seeded with xxh3-64(slot name)"


def slot_key(name, value):
    """The 64-bit key of a value of the column or slot `name`."""
    if isinstance(value, str):
        value = value.encode()
    elif not isinstance(value, (bytes, bytearray)):
        value = struct.pack("<q", int(value))
    return xxhash.xxh3_64_intdigest(value, xxhash.xxh3_64_intdigest(name.encode(), 0))


def cross_keys(name, keys):
    """The keys of the cross `name`: of every combination of one key of each list, the last list's fastest."""
    salt = xxhash.xxh3_64_intdigest(name.encode(), 0)
    combinations = itertools.islice(itertools.product(*keys), CROSS_KEYS_MAX)
    return [xxhash.xxh3_64_intdigest(struct.pack(f"<{len(keys)}Q", *combination), salt)
            for combination in combinations]


def sigmoid(x):
    e = numpy.exp(-numpy.abs(x))
    return numpy.where(x >= 0, 1 / (1 + e), e / (1 + e)).astype(numpy.float32)


def softplus(x):
    return numpy.maximum(x, 0) + numpy.log1p(numpy.exp(-numpy.abs(x)))


def branch(action, bought_with, bought_without):
    """The logit of y2 y3 + (1 - y2) y4 from theirs: a purchase with the action between, or without."""
    a2, a3, a4 = (x.astype(numpy.float64) for x in (action, bought_with, bought_without))
    return (numpy.logaddexp(a2 - softplus(-a3), -softplus(-a4))
            - numpy.logaddexp(a2 - softplus(a3), -softplus(a4))).astype(numpy.float32)


def task_outputs(task):
    """Logits of a task: its own, mu and sigma of ziln, the second branch, the imputed error."""
    return 1 + 2 * (task.get("loss") == "ziln") + ("branch" in task) + ("imputed" in task)


def check_slots(slots, version):
    """Raises FormatError if a slot is not as section 8 has it in a descriptor of that format."""
    for slot in slots:
        position = {"role", "serving"} if slot.get("role") == "position" else set()
        if set(slot) - SLOT_FIELDS - position not in SLOT_SOURCES:
            raise FormatError("a slot with unknown fields")
        if position and ("cross" in slot or slot["dimension"] != 4
                         or not re.fullmatch("[0-9a-f]{16}", slot.get("serving", "0" * 16))):
            raise FormatError("a position that cannot be")
        if "cross" in slot:
            places = set(slot["cross"])
            if not (2 <= len(slot["cross"]) <= 4 and len(places) == len(slot["cross"])
                    and places <= set(range(len(slots)))
                    and not any("cross" in slots[place] or "role" in slots[place] for place in places)):
                raise FormatError("a cross of slots that cannot be")
    if (version == 2) != any("cross" in slot or "role" in slot for slot in slots):
        raise FormatError("a slot of another format")


class Model:
    """rows[slot]: dict of key -> vector. dense: dict of name -> array [rows, columns]."""

    def __init__(self, descriptor):
        if (descriptor.get("format") not in (1, 2) or set(descriptor) != DESCRIPTOR_FIELDS
                or descriptor["hashing"] != HASHING or set(descriptor["body"]) != BODY_FIELDS
                or descriptor["body"]["kind"] not in BODIES):
            raise FormatError("a descriptor of unknown format, fields, hashing or body")
        check_slots(descriptor["slots"], descriptor["format"])
        for task in descriptor["tasks"]:
            if not set(task) <= TASK_FIELDS or task.get("loss", "bce") not in LOSSES:
                raise FormatError("a task with an unknown field or loss")
        self.descriptor = descriptor
        self.slots = descriptor["slots"]
        self.tasks = [task["name"] for task in descriptor["tasks"]]
        self.rows = [{} for _ in self.slots]
        self.dense = {}
        self._expected = None

    def copy(self):
        """A model that can be changed while this one is used; vectors and tensors are shared, never written."""
        other = Model(self.descriptor)
        other.rows = [dict(rows) for rows in self.rows]
        other.dense = dict(self.dense)
        return other

    def apply_rows(self, chunk):
        if chunk.slot >= len(self.slots) or self.slots[chunk.slot]["dimension"] != chunk.dimension:
            raise FormatError("rows that do not fit the descriptor")
        rows = self.rows[chunk.slot]
        for key in chunk.tombstones.tolist():
            rows.pop(key, None)
        rows.update(zip(chunk.keys.tolist(), chunk.vectors))

    def begin_dense(self, tensors):
        if tensors != self.descriptor["tensors"]:
            raise FormatError("the manifest's tensors are not the descriptor's")
        self.dense = {}
        self._expected = [(t["name"], t["rows"], t["columns"]) for t in tensors]
        self._filled = 0
        self._current = None

    def apply_dense(self, chunk):
        for name, rows, columns, first, numbers in chunk.pieces:
            if not self._expected or self._expected[0] != (name, rows, columns) or first != self._filled:
                raise FormatError(f"a piece of {name} is not the one that comes next")
            if first == 0:
                self._current = numpy.empty(rows * columns, numpy.float32)
            self._current[first:first + len(numbers)] = numbers
            self._filled += len(numbers)
            if self._filled == rows * columns:
                self.dense[name] = self._current.reshape(rows, columns)
                self._expected.pop(0)
                self._filled = 0

    def end_dense(self):
        if self._expected:
            raise FormatError("the dense chunks end before the last tensor")

    def keys(self, slot, impression):
        """The keys of a slot: those of its categorical column, of a numeric column's bucket, or of a cross."""
        if "cross" in slot:
            return cross_keys(slot["name"], [self.keys(self.slots[s], impression) for s in slot["cross"]])
        if "categorical" in slot:
            name = self.descriptor["columns"]["categorical"][slot["categorical"]]["name"]
            values = impression.get(name)
            if values is None:
                return []
            if not isinstance(values, (list, tuple)):
                values = [values]
            return [slot_key(name, value) for value in values]
        number = self._number(impression, slot["numeric"])
        if numpy.isnan(number):
            return []
        bucket = int(numpy.searchsorted(slot["boundaries"], number, side="right"))
        return [slot_key(slot["name"], bucket)]

    def _number(self, impression, column):
        value = impression.get(self.descriptor["columns"]["numeric"][column]["name"])
        return float("nan") if value is None else float(value)

    def _found(self, s, impression, keys):
        slot = self.slots[s]
        if keys and "cross" in slot:
            return cross_keys(slot["name"], [keys(c, self.slots[c], impression) for c in slot["cross"]])
        return keys(s, slot, impression) if keys else self.keys(slot, impression)

    def inputs(self, impressions, keys=None):
        """x, [n, inputs]. An impression maps column names to values; keys(slot index, slot, impression) may
        give the keys of a slot instead, but for crosses, which are made from those of their slots."""
        x = numpy.zeros((len(impressions), self.descriptor["inputs"]), numpy.float32)
        for i, impression in enumerate(impressions):
            at = 0
            for s, slot in enumerate(self.slots):
                if "role" in slot:
                    continue
                found = self._found(s, impression, keys)
                absent = self.dense["oov." + slot["name"]][0]
                pooled = x[i, at:at + slot["dimension"]]
                for key in found:
                    pooled += self.rows[s].get(key, absent)
                if slot["pooling"] == "mean" and len(found) > 1:
                    pooled /= numpy.float32(len(found))
                at += slot["dimension"]
            for numeric in self.descriptor["numeric_inputs"]:
                value = self._number(impression, numeric["column"])
                if numeric["log1p"]:
                    value = numpy.copysign(numpy.log1p(abs(value)), value)
                value = (value - numeric["mean"]) / numeric["deviation"]
                value = numpy.float32(value)
                x[i, at] = value if numpy.isfinite(value) else 0
                at += 1
        return x

    def bias(self):
        """What is added to the first logit: positions as they are scored, the same for all impressions."""
        bias = numpy.float32(0)
        for s, slot in enumerate(self.slots):
            if "serving" in slot:
                bias += self.rows[s].get(int(slot["serving"], 16), self.dense["oov." + slot["name"]][0])[0]
        return bias

    def logits(self, x):
        """[n, outputs of all tasks]: the body, then the towers, then the bias of positions."""
        tasks = len(self.tasks)
        body = self.descriptor["body"]
        h = BODIES[body["kind"]](self.dense, body, tasks, x)
        towers = len(body["tower_widths"])
        out = []
        for k in range(tasks):
            hidden = layers(self.dense, f"task{k}.tower", towers, h[k])
            for j in range(task_outputs(self.descriptor["tasks"][k])):
                name = f"task{k}.tower.output{j or ''}"
                out.append(hidden @ self.dense[name + ".weight"] + self.dense[name + ".bias"])
        out[0] = out[0] + self.bias()
        return numpy.concatenate(out, axis=1)

    def _expectation(self, task, logits):
        """The expected value of a task with a loss for values; its logits [n, outputs]."""
        first = logits[:, 0]
        if task["loss"] == "mse":
            return numpy.maximum(numpy.expm1(numpy.minimum(first, EXPONENT_MAX)), numpy.float32(0))
        if task["loss"] == "poisson":
            return numpy.exp(numpy.minimum(first, EXPONENT_MAX))
        sigma = SIGMA_MIN + softplus(logits[:, 2])
        return numpy.exp(numpy.minimum(logits[:, 1] + numpy.float32(0.5) * sigma * sigma, EXPONENT_MAX))

    def probabilities(self, logits):
        """(conditional, products), each [n, tasks]; logits [n, outputs of all tasks]."""
        tasks = self.descriptor["tasks"]
        place = numpy.cumsum([0] + [task_outputs(task) for task in tasks])
        conditional = numpy.empty((len(logits), len(tasks)), numpy.float32)
        products = numpy.empty_like(conditional)
        chain = [numpy.float32(1)]  # chain[i]: stages 0 .. i-1 all happen
        for k, task in enumerate(tasks):
            own = logits[:, place[k]:place[k + 1]]
            loss = task.get("loss", "bce")
            if loss in ("mse", "poisson"):
                conditional[:, k] = products[:, k] = self._expectation(task, own)
                continue
            logit = own[:, 0]
            if "branch" in task:
                logit = branch(logits[:, place[task["branch"]]], own[:, 0], own[:, 3 if loss == "ziln" else 1])
            conditional[:, k] = sigmoid(logit)
            before = k if task["stage"] else 0 if task["parent"] is None else task["parent"] + 1
            products[:, k] = chain[before] * conditional[:, k]
            if task["stage"]:
                chain.append(products[:, k].copy())
            if loss == "ziln":
                products[:, k] *= self._expectation(task, own)
        return conditional, products

    def score(self, impressions, keys=None):
        """(conditional, products) of impressions, [n, tasks] each: P(task | its stage reached), and that times
        the stages before it. With the loss ziln the product is further times the expected value; with mse and
        poisson both are the expected value."""
        return self.probabilities(self.logits(self.inputs(impressions, keys)))
