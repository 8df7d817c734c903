#!/usr/bin/env python3
"""How much of what can be learned is learned: predictions made before each update against the known truth.

Usage: market.py PREDICTIONS TRUTH [--last SHARE] [--require CTR CTCVR [--calibration TOLERANCE]]

PREDICTIONS: what `freshet replay --predictions` wrote (daemon/learner.h). TRUTH: what `freshet generate --truth`
wrote. Over the last SHARE (default a quarter) of the impressions, in the order in which they were predicted, prints
one JSON object: for pCTR and pCTCVR the log loss of the best constant, the model and the truth, the share of the gap
between the first and the last that the model closes, and the calibration (sum of predictions / sum of labels).

An impression is predicted once, when it pays its click (N0, or C1's click part), before the model learns from it. Its
labels are final: what the stream held for it in the end, late parts included.

Needs fastavro, numpy, xxhash.
"""

import argparse
import json
import sys

import fastavro
import numpy as np
import xxhash

N0, C1, L, D2, F3 = range(5)
CLICK, PURCHASE = 1, 2  # bits of mask and labels


def read_predictions(path):
    """The records of the file; all have the same number of tasks."""
    with open(path, "rb") as file:
        tasks = file.read(12)[11]
    record = np.dtype([("impression", "<u8"), ("kind", "u1"), ("mask", "u1"), ("labels", "u1"), ("tasks", "u1"),
                       ("product", "<f4", (tasks,))])
    return np.fromfile(path, dtype=record)


def read_truth(path):
    """Hashes of the ids, true pCTR and pCTCVR, sorted by hash."""
    ids, ctr, ctcvr = [], [], []
    with open(path, "rb") as file:
        for row in fastavro.reader(file):
            ids.append(xxhash.xxh3_64_intdigest(row["impression_id"].encode()))
            ctr.append(row["pctr"])
            ctcvr.append(row["pctr"] * row["pcvr"])
    ids = np.array(ids, dtype=np.uint64)
    order = np.argsort(ids)
    return ids[order], np.array(ctr)[order], np.array(ctcvr)[order]


def positives(predictions, bit):
    """Hashes of the impressions that got the label in any part."""
    hit = ((predictions["mask"] & bit) != 0) & ((predictions["labels"] & bit) != 0) & (predictions["kind"] != F3)
    return np.unique(predictions["impression"][hit])


def log_loss(labels, p):
    p = np.clip(p, 1e-12, 1 - 1e-12)
    return float(-np.mean(labels * np.log(p) + (1 - labels) * np.log(1 - p)))


def judge(labels, model, truth):
    constant = log_loss(labels, np.full(len(labels), labels.mean()))
    losses = {"constant": constant, "model": log_loss(labels, model), "truth": log_loss(labels, truth)}
    return {
        "positives": int(labels.sum()),
        "log_loss": losses,
        "gap_closed": (constant - losses["model"]) / (constant - losses["truth"]),
        "calibration": float(model.sum() / labels.sum()),
        "truth_calibration": float(truth.sum() / labels.sum()),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions")
    parser.add_argument("truth")
    parser.add_argument("--last", type=float, default=0.25)
    parser.add_argument("--require", nargs=2, type=float, metavar=("CTR", "CTCVR"),
                        help="exit 1 unless so much of each gap is closed")
    parser.add_argument("--calibration", type=float, metavar="TOLERANCE",
                        help="with --require: and each calibration is within 1 +- TOLERANCE")
    options = parser.parse_args()

    predictions = read_predictions(options.predictions)
    paid = predictions[((predictions["mask"] & CLICK) != 0) & np.isin(predictions["kind"], (N0, C1))]
    paid = paid[int(len(paid) * (1 - options.last)):]
    ids, ctr, ctcvr = read_truth(options.truth)
    place = np.searchsorted(ids, paid["impression"])
    if not np.array_equal(ids[np.minimum(place, len(ids) - 1)], paid["impression"]):
        sys.exit("market.py: predictions of impressions that the truth does not know")

    result = {"impressions": len(paid)}
    for name, bit, task, truth in (("ctr", CLICK, 0, ctr), ("ctcvr", PURCHASE, 1, ctcvr)):
        labels = np.isin(paid["impression"], positives(predictions, bit)).astype(float)
        result[name] = judge(labels, paid["product"][:, task].astype(float), truth[place])
    print(json.dumps(result, indent=1))
    if options.require:
        for name, least in zip(("ctr", "ctcvr"), options.require):
            off = abs(result[name]["calibration"] - 1)
            if not result[name]["gap_closed"] >= least or (options.calibration and not off <= options.calibration):
                sys.exit(f"market.py: {name} misses what is required")


if __name__ == "__main__":
    main()
