#!/usr/bin/env python3
"""Adds a topic of further actions to a generated stream of files: what `freshet generate` does not make.

    actions.py DIRECTORY TOPIC --after SOURCE [--share X] [--delay D] [--seed S]

Of every lane's records of DIRECTORY/SOURCE (impressions, clicks, purchases, or such a topic) a share has an action some
time after it, written to DIRECTORY/TOPIC/<lane>.avro in the order of arrival (schemas/action.avsc). Some come late,
before what they follow, twice, without an id, a reference or a value, or refer to what there is not. Needs fastavro.
"""

import argparse
import glob
import json
import os
import pathlib
import random

import fastavro
import fastavro.read

fastavro.read.LOGICAL_READERS.pop("long-timestamp-millis")
fastavro.write.LOGICAL_WRITERS.pop("long-timestamp-millis", None)

SCHEMA = fastavro.parse_schema(
    json.loads((pathlib.Path(__file__).resolve().parents[2] / "schemas/action.avsc").read_text(encoding="utf-8")))


def actions_of(source, topic, lane, options):
    """(arrival, record)s, unordered."""
    draw = random.Random(f"{options.seed} {topic} {lane}")
    for number, record in enumerate(source):
        if record["impression_id"] is None or draw.random() >= options.share:
            continue
        time = record["event_time"] + int(draw.expovariate(1 / options.delay))
        if draw.random() < 0.03:
            time = record["event_time"] - draw.randrange(5000)
        reference = record["impression_id"]
        if draw.random() < 0.04:
            reference = draw.choice([None, f"none-{number}"])
        action = {
            "event_id": None if draw.random() < 0.05 else f"{topic}-{lane}-{number}",
            "event_time": time,
            "impression_id": reference,
            "user_id": record["user_id"],
            "item_id": record["item_id"],
            "action": "other",
            "value": None if draw.random() < 0.1 else draw.uniform(0, 100),
        }
        for _ in range(1 + (draw.random() < 0.05)):  # a duplicate, or a second one of another id
            arrival = time + draw.expovariate(1 / 300) + (draw.expovariate(1 / 30000) if draw.random() < 0.05 else 0)
            yield arrival, dict(action)
        if draw.random() < 0.05:
            yield arrival + 1, dict(action, event_id=f"{topic}-{lane}-{number}-again", event_time=time + 500)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("topic")
    parser.add_argument("--after", required=True, metavar="SOURCE")
    parser.add_argument("--share", type=float, default=0.2)
    parser.add_argument("--delay", type=float, default=20000, help="its mean, ms")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(os.path.join(options.directory, options.topic))
    for path in glob.glob(os.path.join(options.directory, options.after, "*.avro")):
        lane = os.path.basename(path)
        with open(path, "rb") as file:
            some = sorted(actions_of(fastavro.reader(file), options.topic, lane, options), key=lambda pair: pair[0])
        with open(os.path.join(options.directory, options.topic, lane), "wb") as file:
            fastavro.writer(file, SCHEMA, [record for _, record in some])


if __name__ == "__main__":
    main()
