#!/usr/bin/env python3
"""The batch oracle: what docs/join.md says a stream of files must come to, computed without an event loop.

Usage: oracle.py DIRECTORY [options]                 counts as JSON on standard output
       oracle.py DIRECTORY --samples FILE [options]  and compare with a samples file, sample by sample
       oracle.py DIRECTORY --replay FILE [options]   and compare with the counts that `freshet replay` printed

It exits with 1 if anything differs.

DIRECTORY holds <topic>/<lane>.avro as `freshet generate --files` writes them. Every rule is applied to whole
groups of records (a partition, an id, an impression) instead of event by event, so that a mistake of the daemon's
loop is unlikely to be repeated here. "Rule n" is docs/join.md's. Joins are by impression_id; the funnel is impression,
click, purchase; the stream is replayed to its end with --finish. Two cores do 2 M impressions in about two minutes.

Needs fastavro; xxhash with --keep-negatives below 1.
"""

import argparse
import bisect
import collections
import glob
import json
import multiprocessing
import os
import re
import struct
import sys

import fastavro
import fastavro.read

# Times as they are written: plain milliseconds.
fastavro.read.LOGICAL_READERS.pop("long-timestamp-millis")

IMPRESSION, CLICK, PURCHASE = 0, 1, 2
RANKS = ["impression", "click", "purchase"]
COUNTERS = ["events", "late", "duplicate", "joined", "second", "beyond", "negative_delay", "orphaned", "expired",
            "no_reference"]

Event = collections.namedtuple("Event", "effective rank offset time id reference value")
Sample = collections.namedtuple("Sample", "impression_id kind mask labels due_time values weights")
NEVER = float("inf")


def milliseconds(text):
    """"10m" -> 600000."""
    units = {"ms": 1, "s": 1000, "m": 60000, "h": 3600000, "d": 86400000}
    parts = re.findall(r"(\d+)(ms|s|m|h|d)", text)
    if text == "0":
        return 0
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise argparse.ArgumentTypeError(f"{text}: not a duration")
    return sum(int(number) * units[unit] for number, unit in parts)


# --- reading ---


def reader_schema(names):
    """Only what the join needs; the rest of a record is skipped."""
    types = {
        "event_time": "long",
        "impression_id": "string" if names[0] == "impression_id" else ["null", "string"],
        "event_id": ["null", "string"],
    }
    number, numbers = ["null", "double"], {"type": "map", "values": "double"}
    roots = {name.split(".")[0]: numbers if "." in name else types.get(name, number) for name in names}
    fields = [{"name": name, "type": kind} for name, kind in roots.items()]
    return {"type": "record", "name": "Event", "fields": fields}


def float32(value):
    """None, or the value as a sample carries it."""
    return None if value is None else struct.unpack("<f", struct.pack("<f", value))[0]


def find(record, path):
    """A field of a record, or of a map in it; None."""
    name, _, key = (path or "").partition(".")
    found = record.get(name)
    return found.get(key) if key and found is not None else found


def impression_weight(record, options):
    """Rule 25."""
    weight, propensity = (find(record, path) for path in (options.weight, options.propensity))
    weight = 1 if weight is None else weight
    return float32(weight if propensity is None else weight / max(propensity, options.propensity_min))


def read_records(path, rank, options):
    """(time, id, reference, value); the value of an impression is its weight."""
    value = options.values.get(rank)
    names = ["impression_id", "event_time"] if rank == IMPRESSION else ["event_id", "event_time", "impression_id"]
    names += [name for name in ([options.weight, options.propensity] if rank == IMPRESSION else [value]) if name]
    with open(path, "rb") as file:
        writer = fastavro.reader(file).writer_schema
        # Records resolve by name; the reader's takes the writer's.
        schema = dict(reader_schema(names), name=writer["name"])
        file.seek(0)
        for record in fastavro.reader(file, reader_schema=fastavro.parse_schema(schema)):
            if rank == IMPRESSION:
                yield record["event_time"], record["impression_id"], record["impression_id"], impression_weight(
                    record, options)
            else:
                yield record["event_time"], record["event_id"], record["impression_id"], float32(record.get(value))


def read_partition(path, rank, options, counters):
    """Rule 2 and the effective time of design.md: max(event time, the watermark just before the record)."""
    events, watermark = [], None
    if not os.path.exists(path):
        return events
    for offset, (time, identity, reference, value) in enumerate(read_records(path, rank, options)):
        effective = time
        if watermark is not None and time < watermark:
            counters["late"] += 1
            effective = watermark
        raised = time - options.lateness[rank]
        watermark = raised if watermark is None else max(raised, watermark)
        events.append(Event(effective, rank, offset, time, identity, reference, value))
    counters["events"] = len(events)
    return events


# --- identity ---


def drop_duplicates(events, dedupe, counters):
    """Rule 18: an id is remembered until its first handled record's effective time + dedupe, inclusive."""
    remembered, kept = {}, []
    for event in sorted(events, key=lambda event: (event.effective, event.offset)):
        if event.id is not None:
            if event.effective <= remembered.get(event.id, -NEVER):
                counters["duplicate"] += 1
                continue
            remembered[event.id] = event.effective + dedupe
        kept.append(event)
    return kept


# --- joining ---


class Journey:
    """A record of a stage: an impression, or a joined click."""

    __slots__ = ("entry", "time", "id", "child", "child_entry", "value")

    def __init__(self, entry, time, identity, value=None):
        self.entry, self.time, self.id, self.value = entry, time, identity, value
        self.child = None  # the action that took the place
        self.child_entry = NEVER


def parent_of(action, journeys, window, orphan_timeout):
    """The record that an action joins and the lane's time at which it does; (None, when it expires) if none.

    `journeys` are those of the action's reference, in order of entry. Rule 7: the latest that has entered by then,
    while it is alive; rule 16: else the first to enter while the action waits.
    """
    entries = [journey.entry for journey in journeys]
    number = bisect.bisect_right(entries, action.effective) - 1
    if number >= 0 and action.effective <= journeys[number].entry + window:
        return journeys[number], action.effective
    if number + 1 < len(journeys) and entries[number + 1] <= action.effective + orphan_timeout:
        return journeys[number + 1], entries[number + 1]
    return None, None


def join_stage(parents, actions, window, orphan_timeout, counters):
    """Joins the actions of one rank to their parents. Gives the joined ones as journeys, by order of entry."""
    by_id = collections.defaultdict(list)
    for parent in parents:
        by_id[parent.id].append(parent)
    attempts = []
    for action in actions:
        if action.reference is None:
            counters["no_reference"] += 1  # rule 19
            continue
        parent, entry = parent_of(action, by_id.get(action.reference, ()), window, orphan_timeout)
        if parent is None or entry != action.effective:
            counters["orphaned"] += 1
        if parent is None:
            counters["expired"] += 1
            continue
        attempts.append((entry, action.effective, action.offset, action, parent))
    # Those that join at one time: orphans first (their parent enters before), in the lane's order (rule 16).
    attempts.sort(key=lambda attempt: attempt[:3])
    joined = []
    for entry, _, _, action, parent in attempts:
        if action.time - parent.time > window:
            counters["beyond"] += 1  # rule 9
        elif parent.child is not None:
            counters["second"] += 1  # rule 14
        else:
            counters["joined"] += 1
            counters["negative_delay"] += action.time < parent.time
            parent.child = Journey(entry, action.time, parent.id, action.value)
            parent.child_entry = entry
            joined.append(parent.child)
    joined.sort(key=lambda journey: journey.entry)
    return joined


# --- samples ---


def negative_rates(kind, options):
    """Rules 20 and 25: with what probability a sample of this kind is there, as each task's weight is to know."""
    rate = options.keep_negatives if kind == "N0" else 1
    return (rate if options.negatives_correction == "weight" else 1), rate


def samples_of(impression, options):
    """Rules 6, 10, 11, 20, 21, for one impression. Tasks are (click, purchase)."""
    out = []
    click = impression.child
    wait_over = impression.entry + options.click_wait
    paid = impression.child_entry > wait_over  # handled after the cursor at `wait`: events of that time go first

    def emit(kind, mask, labels, due_time):
        """A value goes with a label of 1."""
        clicked = click.value if labels[0] else None
        bought = click.child.value if labels[1] else None
        weights = tuple(float32(impression.value * float32(1 / rate)) if counts else 0.0
                        for rate, counts in zip(negative_rates(kind, options), mask))
        out.append(Sample(impression.id, kind, mask, labels, due_time, (clicked, bought), weights))

    emit(*(("N0", (1, 1), (0, 0)) if paid else ("C1", (1, 0), (1, 0))), wait_over)
    if click is None:
        return out
    if paid:
        emit("L", (1, 0), (1, 0), click.entry)
    wait_over = click.entry + options.purchase_wait
    if click.child_entry <= wait_over:
        emit("C1", (0, 1), (0, 1), wait_over)
    elif not paid:
        emit("C1", (0, 1), (0, 0), wait_over)
    if wait_over < click.child_entry < NEVER:
        emit("D2", (0, 1), (0, 1), click.child_entry)
    emit("F3", (0, 0), (1, int(click.child is not None)), click.entry + options.purchase_window)
    return out


def keep(sample, options):
    """Rule 22."""
    if sample.kind != "N0" or options.keep_negatives >= 1:
        return True
    import xxhash

    return xxhash.xxh3_64_intdigest(sample.impression_id.encode()) < options.keep_negatives * 2.0**64


def lane_result(task):
    """Counters and samples of a lane: {"topics", "kinds", "positives", "not_kept"}, and the samples or None."""
    options, lane = task
    counters = [collections.Counter(dict.fromkeys(COUNTERS, 0)) for _ in RANKS]
    events = []
    for rank, topic in enumerate(options.topics):
        path = os.path.join(options.directory, topic, f"{lane}.avro")
        partition = read_partition(path, rank, options, counters[rank])
        events.append(drop_duplicates(partition, options.dedupe[rank], counters[rank]))
    impressions = [Journey(event.effective, event.time, event.id, event.value) for event in events[IMPRESSION]]
    counters[IMPRESSION]["joined"] = len(impressions)
    clicks = join_stage(impressions, events[CLICK], options.click_window, options.orphan_timeout, counters[CLICK])
    join_stage(clicks, events[PURCHASE], options.purchase_window, options.orphan_timeout, counters[PURCHASE])

    kinds = collections.Counter(dict.fromkeys(["N0", "C1", "L", "D2", "F3"], 0))
    positives, not_kept, samples = [0, 0], 0, []
    for impression in impressions:
        for sample in samples_of(impression, options):
            if not keep(sample, options):
                not_kept += 1
                continue
            kinds[sample.kind] += 1
            for number in range(2):
                positives[number] += sample.mask[number] and sample.labels[number]
            if options.samples:
                samples.append(sample)
    result = {"topics": counters, "kinds": kinds, "positives": positives, "not_kept": not_kept}
    return result, samples


def oracle(options):
    lanes = {
        int(os.path.basename(path)[: -len(".avro")])
        for topic in options.topics
        for path in glob.glob(os.path.join(options.directory, topic, "*.avro"))
    }
    if not lanes:
        sys.exit(f"oracle: no files under {options.directory} for {options.topics}")
    total = {"topics": [collections.Counter() for _ in RANKS], "kinds": collections.Counter(), "positives": [0, 0],
             "not_kept": 0}
    samples = []
    with multiprocessing.Pool(min(options.jobs, len(lanes))) as pool:
        for result, some in pool.imap_unordered(lane_result, [(options, lane) for lane in sorted(lanes)]):
            for rank in range(len(RANKS)):
                total["topics"][rank].update(result["topics"][rank])
            total["kinds"].update(result["kinds"])
            total["positives"] = [a + b for a, b in zip(total["positives"], result["positives"])]
            total["not_kept"] += result["not_kept"]
            samples += some
    report = {
        "topics": {name: dict(total["topics"][rank]) for rank, name in enumerate(RANKS)},
        "kinds": dict(total["kinds"]),
        "positives": {"click": total["positives"][0], "purchase": total["positives"][1]},
        "not_kept": total["not_kept"],
    }
    return report, samples


def read_samples(path):
    """The samples of a file of schemas/sample.avsc. A label that is not read is taken as 0 (rule 20)."""
    with open(path, "rb") as file:
        for record in fastavro.reader(file):
            final = record["kind"] == "F3"
            mask = tuple(int(task["mask"]) for task in record["tasks"])
            labels = tuple(int(task["label"]) if task["mask"] or final else 0 for task in record["tasks"])
            values = tuple(task["value"] if label else None for task, label in zip(record["tasks"], labels))
            weights = tuple(task["weight"] for task in record["tasks"])
            yield Sample(record["impression_id"], record["kind"], mask, labels, record["due_time"], values, weights)


def compare_samples(expected, path):
    """Prints what is in one multiset only; the number of differences."""
    ours, theirs = collections.Counter(expected), collections.Counter(read_samples(path))
    missing, extra = ours - theirs, theirs - ours
    for title, some in (("missing from", missing), ("only in", extra)):
        for sample in sorted(some, key=repr)[:10]:
            print(f"oracle: {title} {path}: {sample}", file=sys.stderr)
    return sum(missing.values()) + sum(extra.values())


def compare_counts(report, path):
    """Prints the counts that differ from `freshet replay`'s; their number."""
    with open(path, encoding="utf-8") as file:
        theirs = json.load(file)
    pairs = [("not_kept", report["not_kept"], theirs["not_kept"])]
    pairs += [(f"kinds {kind}", count, theirs["kinds"][kind]) for kind, count in report["kinds"].items()]
    for topic, counters in report["topics"].items():
        pairs += [(f"{topic} {name}", count, theirs["topics"][topic][name]) for name, count in counters.items()]
    different = [pair for pair in pairs if pair[1] != pair[2]]
    for name, ours, other in different:
        print(f"oracle: {name}: {ours}, but {other} in {path}", file=sys.stderr)
    return len(different)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--topics", default="impressions,clicks,purchases")
    parser.add_argument("--click-wait", type=milliseconds, default="10m")
    parser.add_argument("--click-window", type=milliseconds, default="30m")
    parser.add_argument("--purchase-wait", type=milliseconds, default="1h")
    parser.add_argument("--purchase-window", type=milliseconds, default="3d")
    parser.add_argument("--lateness", default="2s", help="of all topics, or of each: 2s,2s,5s")
    parser.add_argument("--dedupe", help="as --lateness; default: click window, then purchase window twice")
    parser.add_argument("--orphan-timeout", type=milliseconds, default="10m")
    parser.add_argument("--keep-negatives", type=float, default=1.0)
    parser.add_argument("--negatives-correction", choices=["log_odds", "weight"], default="log_odds")
    parser.add_argument("--weight", help="field of an impression's weight; default: it has none")
    parser.add_argument("--propensity", help="field of an impression's propensity; default: it has none")
    parser.add_argument("--propensity-min", type=float, default=0.01)
    parser.add_argument("--click-value", help="field of a click's value; default: it has none")
    parser.add_argument("--purchase-value", help="field of a purchase's value; default: it has none")
    parser.add_argument("--samples", help="a samples file to compare with")
    parser.add_argument("--replay", help="the JSON that freshet replay printed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    options.topics = options.topics.split(",")
    options.values = {CLICK: options.click_value, PURCHASE: options.purchase_value}
    for name, default in (("lateness", None), ("dedupe", [options.click_window] + 2 * [options.purchase_window])):
        text = getattr(options, name)
        values = default if text is None else [milliseconds(part) for part in text.split(",")]
        setattr(options, name, values * 3 if len(values) == 1 else values)
    return options


def main():
    options = parse_arguments(sys.argv[1:])
    report, samples = oracle(options)
    if options.samples:
        report["differing_samples"] = compare_samples(samples, options.samples)
    if options.replay:
        report["differing_counts"] = compare_counts(report, options.replay)
    json.dump(report, sys.stdout, indent=1)
    print()
    return 1 if report.get("differing_samples") or report.get("differing_counts") else 0


if __name__ == "__main__":
    sys.exit(main())
