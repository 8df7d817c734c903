"""What the learning tests and tests/bench/pytorch share: datasets, weights and configurations as files, the driver
build/release/tests/learn, AUC, and intervals over seeds.

Needs numpy.
"""

import importlib.util
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LEARN = ROOT / "build/release/tests/learn"
NO_ID = np.uint64(2**64 - 1)

# The bodies by their names in a configuration.
BODIES = ["shared_bottom", "soft_l2", "cross_stitch", "customized", "moe", "mmoe", "ml_mmoe", "cgc", "ple"]

# Two-sided 95 % points of Student's t by degrees of freedom.
T95 = [None, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
       2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042]


def environment():
    """Of a program that chooses its kernels itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("OPENBLAS_")}


def need_torch():
    """Ends this program with a sentence where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        sys.exit(f"{sys.executable} has no torch: ops/install --torch installs it for /usr/bin/python3")


def pin_environment():
    """Runs this program anew without the shell's OPENBLAS_*, with one thread, if it has others. First in main."""
    if {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")} != {
            "OPENBLAS_NUM_THREADS": "1"}:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**environment(), "OPENBLAS_NUM_THREADS": "1"})


def write_dataset(path, labels, ids=None, numbers=None, masks=None, weights=None, values=None):
    """labels [n x tasks]; the rest of n rows, or None. The format: tests/learning/learn_data.h."""
    labels = np.asarray(labels, dtype=np.uint8)
    n, tasks = labels.shape
    ids = np.zeros((n, 0), dtype=np.uint64) if ids is None else np.asarray(ids, dtype=np.uint64)
    numbers = np.zeros((n, 0)) if numbers is None else np.asarray(numbers, dtype=np.float64)
    masks = np.ones((n, tasks), dtype=np.uint8) if masks is None else np.asarray(masks, dtype=np.uint8)
    weights = masks if weights is None else weights
    values = np.zeros((n, tasks)) if values is None else values
    with open(path, "wb") as file:
        file.write(b"freshet learn 1\n")
        np.array([n, ids.shape[1], numbers.shape[1], tasks], dtype=np.uint32).tofile(file)
        ids.tofile(file)
        numbers.tofile(file)
        np.asarray(weights, dtype=np.float32).tofile(file)
        np.asarray(values, dtype=np.float32).tofile(file)
        labels.tofile(file)
        masks.tofile(file)


def read_weights(path):
    """{name: float32 [rows x columns]} of a file as tests/learning/learn_weights.h has it."""
    content = np.fromfile(path, dtype=np.uint8)
    tensors, at = {}, 0
    while at < len(content):
        length = int(content[at:at + 4].view(np.uint32)[0])
        name = content[at + 4:at + 4 + length].tobytes().decode()
        at += 4 + length
        rows, columns = (int(number) for number in np.frombuffer(content[at:at + 8].tobytes(), dtype=np.uint32))
        at += 8
        size = 4 * rows * columns
        tensors[name] = np.frombuffer(content[at:at + size].tobytes(), dtype=np.float32).reshape(rows, columns).copy()
        at += size
    return tensors


def write_weights(path, tensors):
    with open(path, "wb") as file:
        for name, tensor in tensors.items():
            encoded = name.encode()
            file.write(struct.pack("<I", len(encoded)) + encoded + struct.pack("<II", *tensor.shape))
            np.ascontiguousarray(tensor, dtype=np.float32).tofile(file)


def write_config(path, model, actions, slots=(), numerics=()):
    """A daemon's configuration, of which `learn` reads what is learned. JSON is YAML, nearly."""
    stream = {"wait": "1m", "window": "1m"}  # of no effect here, but the file wants it
    actions = [{"topic": action["name"], **stream, **action} for action in actions]
    config = {"state_dir": "state", "source": {"kind": "files", "path": "events"}, "actions": actions,
              "model": model, "slots": list(slots), "numerics": list(numerics)}
    text = re.sub(r'"(\d+(?:ms|s|m|h|d))"', r"\1", json.dumps(config, indent=1))  # durations stand unquoted
    pathlib.Path(path).write_text(text + "\n", encoding="utf-8")


def learn(config, dataset, *options):
    """Runs the driver; its report."""
    command = [str(LEARN), str(config), str(dataset), *map(str, options)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment()).stdout)


def read_predictions(path, tasks):
    """(conditional, products), each [samples x tasks]."""
    both = np.fromfile(path, dtype=np.float32).reshape(-1, 2 * tasks)
    return both[:, :tasks], both[:, tasks:]


def auc(labels, scores):
    """Area under the ROC curve, ties counted half."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    last = np.append(first[1:], len(ordered))
    ranks = np.empty(len(ordered))
    ranks[order] = np.repeat((first + last + 1) / 2, last - first)
    positives = np.asarray(labels) == 1
    p, n = positives.sum(), (~positives).sum()
    return float((ranks[positives].sum() - p * (p + 1) / 2) / (p * n))


def log_loss(labels, p):
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-12, 1 - 1e-12)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def interval(values):
    """(mean, half width of its 95 % interval by Student's t); of one value no width is known: nan."""
    values = np.asarray(values, dtype=np.float64)
    n = len(values)
    if n < 2:
        return float(values.mean()), math.nan
    t = T95[n - 1] if n <= len(T95) else 1.96
    return float(values.mean()), float(t * values.std(ddof=1) / math.sqrt(n))


def show(values, digits):
    """Mean and interval as text; of one value, itself."""
    mean, width = interval(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(width) else f" ± {width:.{digits}f}")
