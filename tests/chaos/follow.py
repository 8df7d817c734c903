#!/usr/bin/env python3
"""The Python reader under fire: follows the model that publications.c publishes and looks through each version.

Usage: follow.py SOCKET [MODEL]     until standard input ends; with MODEL it is another one, and only order is looked at

Prints, a line each, "held VERSION GENERATION", and "wrong TEXT" for what must not be, as `publications follow` does.
Of another model it says "anew VERSION TICK" instead of "held" if it goes back in event time, but by a new epoch and a
base: a trainer that starts from its last cut before a Redis that has lost what came after.
"""

import os
import select
import sys
import time

import numpy
import redis

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "publisher", "python"))
import freshet  # noqa: E402
from freshet.reader import MissingKey, OlderVersion, version_parse  # noqa: E402

ROWS = 200  # as in publications.c


def say(*words):
    print(*words, flush=True)


def mixed(model, generation):
    """What of the model is not of that generation; None: nothing."""
    present = sum((generation + row) % 5 != 0 for row in range(ROWS))
    for slot, rows in zip(model.slots, model.rows):
        if len(rows) != present:
            return f"{len(rows)} rows of {slot['name']} instead of {present}"
        if not all((vector == generation).all() for vector in rows.values()):
            return f"a row of {slot['name']}"
    for name, tensor in model.dense.items():
        if not (tensor == numpy.float32(generation)).all():
            return name
    return None


def main():
    client = redis.Redis(unix_socket_path=sys.argv[1], socket_timeout=3)
    reader = freshet.Reader(client, sys.argv[2] if len(sys.argv) > 2 else "chaos")
    last, last_generation = (0, 0), 0
    while not (select.select([sys.stdin], [], [], 0)[0] and not os.read(0, 1)):
        try:
            if not reader.follow(timeout=0.05):
                continue
        except (redis.RedisError, MissingKey, OlderVersion, OSError):
            time.sleep(0.02)
            continue
        except freshet.FormatError as error:
            say("wrong", error)
            continue
        generation = reader.manifest["tick"]
        name = f"{reader.version[0]}.{reader.version[1]}"
        what = mixed(reader.model, generation) if len(sys.argv) == 2 else None
        if what:
            say("wrong", f"{name} is not generation {generation}: {what}")
        earlier = generation < last_generation
        anew = (len(sys.argv) > 2 and earlier and reader.version[0] > last[0]
                and version_parse(reader.manifest["base"]["version"])[0] > last[0])
        if reader.version < last or earlier and not anew:
            say("wrong", f"{name} ({generation}) after {last} ({last_generation})")
        last, last_generation = reader.version, generation
        say("anew" if anew else "held", name, generation)


if __name__ == "__main__":
    main()
