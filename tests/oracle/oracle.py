#!/usr/bin/env python3
"""The batch oracle: what docs/join.md says a stream of files must come to, computed without an event loop.

Usage: oracle.py DIRECTORY [options]                 counts as JSON on standard output
       oracle.py DIRECTORY --samples FILE [options]  and compare with a samples file, sample by sample
       oracle.py DIRECTORY --replay FILE [options]   and compare with the counts that `freshet replay` printed

It exits with 1 if anything differs.

DIRECTORY holds <topic>/<lane>.avro as `freshet generate --files` writes them. Every rule is applied to whole
groups of records (a partition, an id, an impression) instead of event by event, so that a mistake of the daemon's
loop is unlikely to be repeated here. "Rule n" is docs/join.md's. Joins are by impression_id; the funnel is impression,
click, purchase, and what --action puts behind and beside them; the stream is replayed to its end with --finish. Two
cores do 2 M impressions in about three minutes.

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

IMPRESSION, CLICK = 0, 1
COUNTERS = ["events", "late", "duplicate", "joined", "second", "beyond", "negative_delay", "orphaned", "expired",
            "no_reference"]

Event = collections.namedtuple("Event", "effective rank offset time id reference value")
# What follows what: `rank` is its place, `parent` its stage's, `counts` that of the action that it counts as, or its
# own; `side`: it starts no stage. The impression has rank 0, a name and a topic.
Action = collections.namedtuple("Action", "rank name topic parent wait window side counts value")
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
    value = options.actions[rank].value
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
    """A record of a stage: an impression, or a joined action."""

    __slots__ = ("entry", "time", "id", "value", "taken")

    def __init__(self, entry, time, identity, value=None):
        self.entry, self.time, self.id, self.value = entry, time, identity, value
        self.taken = {}  # by rank of the action that counts: the journey of the one that took the place


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


def join_actions(parents, actions, events, options, counters):
    """Joins the events of actions that take one place of their parents: one action, and those that count as it (rule
    19a). Gives the joined ones as journeys, by order of entry."""
    by_id = collections.defaultdict(list)
    for parent in parents:
        by_id[parent.id].append(parent)
    attempts = []
    for action in actions:
        counter = counters[action.rank]
        for event in events[action.rank]:
            if event.reference is None:
                counter["no_reference"] += 1  # rule 19
                continue
            parent, entry = parent_of(event, by_id.get(event.reference, ()), action.window, options.orphan_timeout)
            if parent is None or entry != event.effective:
                counter["orphaned"] += 1
            if parent is None:
                counter["expired"] += 1
                continue
            # Those that join at one time: orphans first (their parent enters before), by action, each action's in the
            # lane's order (rule 16).
            order = (entry, entry == event.effective, event.rank, event.effective, event.offset)
            attempts.append((order, event, parent, action, counter))
    attempts.sort(key=lambda attempt: attempt[0])
    joined = []
    for (entry, *_), event, parent, action, counter in attempts:
        if event.time - parent.time > action.window:
            counter["beyond"] += 1  # rule 9
        elif action.counts in parent.taken:
            counter["second"] += 1  # rule 14
        else:
            counter["joined"] += 1
            counter["negative_delay"] += event.time < parent.time
            parent.taken[action.counts] = Journey(entry, event.time, parent.id, event.value)
            joined.append(parent.taken[action.counts])
    return joined  # in the order of entry


# --- samples ---


def negative_rate(kind, task, options):
    """Rules 20 and 25: with what probability a sample of this kind is there, as the task's weight is to know."""
    if kind != "N0" or (task == 0 and options.negatives_correction != "weight"):
        return 1
    return options.keep_negatives


def deeper(rank, options):
    """The tasks that a journey without this action pays beside its own: all that hang on the stages from it on."""
    return [other.rank for other in options.tasks if other.parent >= rank]


def samples_of(impression, options):
    """Rules 6, 10 to 12, 20, 21, for one impression and all that was joined to it."""
    out = []

    def emit(kind, ranks, labels, due_time):
        """`ranks` count, `labels` are the joined ones. A value goes with a label of 1."""
        mask, label, values, weights = [], [], [], []
        for task in options.tasks:
            counts = task.rank in ranks
            mask.append(int(counts))
            label.append(int(task.rank in labels))
            values.append(labels.get(task.rank))
            rate = negative_rate(kind, task.rank - 1, options)
            weights.append(float32(impression.value * float32(1 / rate)) if counts else 0.0)
        out.append(Sample(impression.id, kind, *map(tuple, (mask, label)), due_time, *map(tuple, (values, weights))))

    def stage(rank, journey, paid, before):
        """What follows a journey of a stage; `before`: the ranks of the actions that led to it."""
        for action in options.children[rank]:
            joined, wait_over = journey.taken.get(action.rank), journey.entry + action.wait
            # Handled after the cursor at `wait`: events of that time go first.
            late = joined is None or joined.entry > wait_over
            if not late:
                emit("C1", [action.rank], {action.rank: joined.value}, wait_over)
            elif rank == IMPRESSION or not paid:
                kind = "N0" if rank == IMPRESSION else "C1"
                emit(kind, [action.rank, *deeper(action.rank, options)], {}, wait_over)
            if joined and late:
                emit("L" if action.rank == CLICK else "D2", [action.rank], {action.rank: joined.value}, joined.entry)
            if rank != IMPRESSION and not action.side:  # rule 11; of the stages before only this one's value is told
                labels = {**dict.fromkeys(before), rank: journey.value}
                labels.update({action.rank: joined.value} if joined else {})
                emit("F3", [], labels, journey.entry + action.window)
            if joined and action.rank in options.children:
                stage(action.rank, joined, paid or late, [*before, action.rank])

    stage(IMPRESSION, impression, False, [])
    return out


def keep(sample, options):
    """Rule 22."""
    if sample.kind != "N0" or options.keep_negatives >= 1:
        return True
    import xxhash

    return xxhash.xxh3_64_intdigest(sample.impression_id.encode()) < options.keep_negatives * 2.0**64


def join_all(events, options, counters):
    """The impressions as journeys, with all that is joined to them."""
    stages = {IMPRESSION: [Journey(event.effective, event.time, event.id, event.value) for event in events[IMPRESSION]]}
    counters[IMPRESSION]["joined"] = len(stages[IMPRESSION])
    for stage, children in options.children.items():  # a stage before what hangs on it
        for child in children:
            together = [action for action in options.actions[1:] if action.counts == child.rank]
            stages[child.rank] = join_actions(stages[stage], together, events, options, counters)
    return stages[IMPRESSION]


def lane_result(task):
    """Counters and samples of a lane: {"topics", "kinds", "positives", "not_kept"}, and the samples or None."""
    options, lane = task
    counters = [collections.Counter(dict.fromkeys(COUNTERS, 0)) for _ in options.actions]
    events = []
    for action in options.actions:
        path = os.path.join(options.directory, action.topic, f"{lane}.avro")
        partition = read_partition(path, action.rank, options, counters[action.rank])
        events.append(drop_duplicates(partition, options.dedupe[action.rank], counters[action.rank]))

    kinds = collections.Counter(dict.fromkeys(["N0", "C1", "L", "D2", "F3"], 0))
    positives, not_kept, samples = [0] * len(options.tasks), 0, []
    for impression in join_all(events, options, counters):
        for sample in samples_of(impression, options):
            if not keep(sample, options):
                not_kept += 1
                continue
            kinds[sample.kind] += 1
            for number in range(len(positives)):
                positives[number] += sample.mask[number] and sample.labels[number]
            if options.samples:
                samples.append(sample)
    result = {"topics": counters, "kinds": kinds, "positives": positives, "not_kept": not_kept}
    return result, samples


def oracle(options):
    lanes = {
        int(os.path.basename(path)[: -len(".avro")])
        for action in options.actions
        for path in glob.glob(os.path.join(options.directory, action.topic, "*.avro"))
    }
    if not lanes:
        sys.exit(f"oracle: no files under {options.directory} for {[action.topic for action in options.actions]}")
    total = {"topics": [collections.Counter() for _ in options.actions], "kinds": collections.Counter(),
             "positives": [0] * len(options.tasks), "not_kept": 0}
    samples = []
    with multiprocessing.Pool(min(options.jobs, len(lanes))) as pool:
        for result, some in pool.imap_unordered(lane_result, [(options, lane) for lane in sorted(lanes)]):
            for rank in range(len(options.actions)):
                total["topics"][rank].update(result["topics"][rank])
            total["kinds"].update(result["kinds"])
            total["positives"] = [a + b for a, b in zip(total["positives"], result["positives"])]
            total["not_kept"] += result["not_kept"]
            samples += some
    report = {
        "topics": {action.name: dict(total["topics"][action.rank]) for action in options.actions},
        "kinds": dict(total["kinds"]),
        "positives": {task.name: count for task, count in zip(options.tasks, total["positives"])},
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


def action_of(text):
    """The settings of --action as a dictionary; "side" alone is one."""
    return dict(part.split("=", 1) if "=" in part else (part, True) for part in text.split(","))


def list_actions(options):
    """options.actions by rank, .tasks (those that count as themselves), .children: by stage, the tasks on it."""
    topics = options.topics.split(",")
    funnel = [("click", options.click_wait, options.click_window, options.click_value),
              ("purchase", options.purchase_wait, options.purchase_window, options.purchase_value)]
    actions = [Action(0, "impression", topics[0], None, None, None, False, 0, None)]
    for rank, (name, wait, window, value) in enumerate(funnel, 1):
        actions.append(Action(rank, name, topics[rank], rank - 1, wait, window, False, rank, value))
    for given in options.action:
        ranks, rank = {action.name: action.rank for action in actions}, len(actions)
        actions.append(Action(
            rank, given["name"], given["topic"], ranks[given["parent"]] if "parent" in given else rank - 1,
            milliseconds(given["wait"]), milliseconds(given["window"]), "side" in given,
            ranks[given["as"]] if "as" in given else rank, given.get("value")))
    options.actions = actions
    options.tasks = [action for action in actions[1:] if action.counts == action.rank]
    options.children = {}
    for task in options.tasks:
        options.children.setdefault(task.parent, []).append(task)


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("directory")
    parser.add_argument("--topics", default="impressions,clicks,purchases")
    parser.add_argument("--click-wait", type=milliseconds, default="10m")
    parser.add_argument("--click-window", type=milliseconds, default="30m")
    parser.add_argument("--purchase-wait", type=milliseconds, default="1h")
    parser.add_argument("--purchase-window", type=milliseconds, default="3d")
    parser.add_argument("--action", type=action_of, action="append", default=[], metavar="SETTINGS",
                        help="name=N,topic=T,wait=D,window=D[,value=FIELD]: behind the last of the funnel; with "
                        ",side,parent=STAGE[,as=ACTION] beside it, after those of the funnel")
    parser.add_argument("--lateness", default="2s", help="of all topics, or of each: 2s,2s,5s")
    parser.add_argument("--dedupe", help="as --lateness; default: click window, then the longest")
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
    list_actions(options)
    windows = [options.click_window] + [max(action.window for action in options.actions[1:])] * len(options.actions[1:])
    for name, default in (("lateness", None), ("dedupe", windows)):
        text = getattr(options, name)
        values = default if text is None else [milliseconds(part) for part in text.split(",")]
        setattr(options, name, values * len(options.actions) if len(values) == 1 else values)
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
