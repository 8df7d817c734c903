#!/usr/bin/env python3
"""Turns Taobao's UserBehavior lines into Freshet's event files.

Usage: convert.py OUT [--input FILE] [--lanes N]

OUT/impressions/<lane>.avro, OUT/clicks/<lane>.avro, OUT/purchases/<lane>.avro, with the schemas of schemas/*.avsc.
The input has lines "user,item,category,behaviour,seconds", behaviour one of pv, cart, fav, buy; CSV, or CSV.xz.

The mapping. The data has no list of what was shown, so a page view stands for the impression of its item:

  impression  every pv. impression_id is "<user>.<item>.<seconds>", with ".2", ".3" for further ones of one second.
  click       the user came back: the next pv, cart, fav or buy of the same user and item, strictly later and at
              most 24 h after the pv. It goes to the user's latest pv of the item that has none yet. (A pv that
              comes back is both: the click of an earlier one, and an impression itself.)
  purchase    a buy goes to the latest clicked pv of the same user and item, if that click is at most 3 days old.
              A buy that is also the click is both, at the same second. What no pv leads to is counted and left out.

Event ids are "<behaviour>.<user>.<item>.<seconds>" with the same suffix. Lines outside the nine days of the data,
2017-11-25 to 2017-12-03 in China, are counted and left out; so are lines that are not of this form. Records come in
the order of their time, lines of one second in the file's order. The lane is XXH3(user) % lanes.

Features of an impression know only what lies before it:
  categorical  user, item, category, hour and weekday (China's time), last_category (of the user's previous pv),
               seen_item and seen_category (how often the user viewed them before: 0, 1, 2, 3-5, 6+)
  numeric      views (the user's pvs so far), gap (seconds since the previous one; absent for the first)
"""

import argparse
import collections
import csv
import io
import json
import lzma
import os
import sys

import fastavro
import xxhash

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHINA = 8 * 3600
FIRST = 1511539200  # 2017-11-25 00:00:00 in China
LAST = FIRST + 9 * 86400
CLICK_WINDOW = 24 * 3600
PURCHASE_WINDOW = 3 * 86400
TOPICS = {"impressions": "impression", "clicks": "click", "purchases": "purchase"}

Line = collections.namedtuple("Line", "user item category behaviour time")


class View:
    """A pv that may yet be clicked and bought."""

    __slots__ = ("id", "time", "click_time", "bought")

    def __init__(self, identity, time):
        self.id, self.time, self.click_time, self.bought = identity, time, None, False


def read_lines(path, counts):
    opener = lzma.open if path.endswith(".xz") else open
    with opener(path, "rb") as file:
        for row in csv.reader(io.TextIOWrapper(file, "ascii")):
            if len(row) != 5 or row[3] not in ("pv", "cart", "fav", "buy") or not row[4].isdigit():
                counts["malformed"] += 1
                continue
            line = Line(row[0], row[1], row[2], row[3], int(row[4]))
            if not FIRST <= line.time < LAST:
                counts["outside"] += 1
                continue
            yield line


def band(count):
    """How often, in five steps."""
    return str(count) if count < 3 else "3-5" if count < 6 else "6+"


class User:
    """What is known of a user so far."""

    def __init__(self):
        self.views = 0
        self.last_time = None
        self.last_category = None
        self.seen_item = collections.Counter()
        self.seen_category = collections.Counter()

    def features(self, line):
        local = line.time + CHINA
        categorical = {
            "user": [line.user],
            "item": [line.item],
            "category": [line.category],
            "hour": [str(local // 3600 % 24)],
            "weekday": [str((local // 86400 + 3) % 7)],  # Monday 0
            "last_category": [self.last_category] if self.last_category else [],
            "seen_item": [band(self.seen_item[line.item])],
            "seen_category": [band(self.seen_category[line.category])],
        }
        numeric = {"views": float(self.views)}
        if self.last_time is not None:
            numeric["gap"] = float(line.time - self.last_time)
        return categorical, numeric

    def view(self, line):
        self.views += 1
        self.last_time, self.last_category = line.time, line.category
        self.seen_item[line.item] += 1
        self.seen_category[line.category] += 1


def action_of(line, view, identity):
    return {"event_id": identity, "event_time": line.time * 1000, "impression_id": view.id, "user_id": line.user,
            "item_id": line.item, "value": None}


def convert(lines, counts):
    """Yields (topic, record), in the order of time."""
    users = collections.defaultdict(User)
    views = collections.defaultdict(list)  # by (user, item), oldest first
    names = collections.Counter()

    def unique(name):
        names[name] += 1
        return name if names[name] == 1 else f"{name}.{names[name]}"

    for line in sorted(lines, key=lambda line: line.time):  # stable
        mine = views[line.user, line.item]
        suffix = f"{line.user}.{line.item}.{line.time}"
        open_views = [v for v in mine if v.click_time is None and 0 < line.time - v.time <= CLICK_WINDOW]
        if open_views:
            open_views[-1].click_time = line.time
            yield "clicks", action_of(line, open_views[-1], unique(f"{line.behaviour}.{suffix}"))
        if line.behaviour == "buy":
            clicked = [v for v in mine if v.click_time is not None and line.time - v.click_time <= PURCHASE_WINDOW]
            if clicked and not clicked[-1].bought:
                clicked[-1].bought = True
                yield "purchases", action_of(line, clicked[-1], unique(f"order.{suffix}"))
            else:
                counts["purchases without a click"] += 1
        elif line.behaviour == "pv":
            user = users[line.user]
            categorical, numeric = user.features(line)
            view = View(unique(suffix), line.time)
            yield "impressions", {"impression_id": view.id, "event_time": line.time * 1000, "user_id": line.user,
                                  "item_id": line.item, "request_id": None, "position": None,
                                  "categorical": categorical, "numeric": numeric}
            mine.append(view)
            user.view(line)


def write(out, lanes, records, counts):
    partitions = collections.defaultdict(list)
    for topic, record in records:
        counts[topic] += 1
        lane = xxhash.xxh3_64_intdigest(record["user_id"].encode()) % lanes
        partitions[topic, lane].append(record)
    for topic, schema_name in TOPICS.items():
        with open(os.path.join(ROOT, "schemas", schema_name + ".avsc"), encoding="utf-8") as file:
            schema = fastavro.parse_schema(json.load(file))
        os.makedirs(os.path.join(out, topic), exist_ok=True)
        for lane in range(lanes):
            marker = xxhash.xxh3_128_digest(f"{topic}/{lane}".encode())
            with open(os.path.join(out, topic, f"{lane}.avro"), "wb") as file:
                fastavro.writer(file, schema, partitions[topic, lane], sync_marker=marker)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("--input", default=os.path.join(ROOT, "tests", "data", "taobao_userbehavior_head.csv.xz"))
    parser.add_argument("--lanes", type=int, default=2)
    options = parser.parse_args()
    counts = collections.Counter()
    write(options.out, options.lanes, convert(read_lines(options.input, counts), counts), counts)
    json.dump(counts, sys.stdout)
    print()


if __name__ == "__main__":
    main()
