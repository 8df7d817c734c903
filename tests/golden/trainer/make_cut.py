#!/usr/bin/env python3
"""Makes cut-1.bin: a small cut of version 1, written from the format's description (trainer/cut_format.h).

    python3 tests/golden/trainer/make_cut.py tests/golden/trainer/cut-1.bin

Needs xxhash (tests/requirements.txt); the tests need only the file. tests/unit/trainer_cut_golden.c reads it and has
the same configuration. A cut of version 1 stays readable for ever: do not make the file anew, add one beside it.

The file is the map's entries ascending by key, little-endian: u32 size of the key, the key, u32 size of the value, the
value.
"""
import struct
import sys

import xxhash

SLOTS = [  # name, dimension, expiry, rows, last expiry bucket emptied, buckets of candidates
    ("user", 4, 0),
    ("item", 8, 25600),
]
NOW, GRANULE = 1_000_000, 100
TENSORS = [
    ("level0.shared.expert0.layer0.weight", 16, 16),
    ("level0.shared.expert0.layer0.bias", 1, 16),
    ("level0.task0.gate.weight", 16, 1),
    ("task0.tower.output.weight", 16, 1),
    ("task0.tower.output.bias", 1, 1),
    ("oov.user", 1, 4),
    ("oov.item", 1, 8),
]
USERS = [(3 << 40, 999_000, 7, 0), (0xfedcba9876543210, 5, 4294967295, 4)]  # key, last seen, count, stamp
ITEMS = [(key * key, NOW - 1000 * key, key + 1, key % 5) for key in range(20)]


def checksum(key, value):
    return value + struct.pack("<I", xxhash.xxh3_64_intdigest(key + value) & 0xFFFFFFFF)


def floats(first, count):
    return struct.pack(f"<{count}f", *((first + i) / 64 for i in range(count)))


def span(text):
    return struct.pack("<Q", len(text)) + text.encode()


def mix(key):  # MurmurHash3's finaliser
    mask = (1 << 64) - 1
    key = (key ^ key >> 33) * 0xFF51AFD7ED558CCD & mask
    key = (key ^ key >> 33) * 0xC4CEB9FE1A85EC53 & mask
    return key ^ key >> 33


def model():
    out = struct.pack("<QqQ", 12345, NOW, 17)
    out += struct.pack("<I", 2)
    out += span("user") + struct.pack("<IIqQqI", 4, 0, 0, len(USERS), 0, 128)
    out += span("item") + struct.pack("<IIqQqI", 8, 0, 25600, len(ITEMS), NOW // GRANULE - 1, 0)
    out += struct.pack("<I", len(TENSORS))
    for name, rows, columns in TENSORS:
        out += span(name) + struct.pack("<II", rows, columns)
    # Settled: snapshot 2 of tick 40; in flight: 4 of tick 44. Row 99 went after it, row 98 before.
    out += struct.pack("<BIIqIq", 2, 4, 2, 40, 4, 44)
    out += struct.pack("<QQ", 0, 0)
    out += struct.pack("<QQQQ", 1, 99, 1, 98)
    section = b"FRSHMODL" + struct.pack("<IQ", 1, len(out)) + out
    return section + struct.pack("<Q", xxhash.xxh3_64_intdigest(section))


def main(path):
    entries = {b"m": model()}
    for slot, rows in enumerate((USERS, ITEMS)):
        for key, seen, count, stamp in rows:
            name = b"r" + struct.pack(">HQ", slot, key)
            value = floats(key % 1000, SLOTS[slot][1]) + struct.pack("<qII", seen, count, stamp)
            entries[name] = checksum(name, value)
    buckets = {}
    for key in range(1000, 1040):
        buckets.setdefault(mix(key) >> 57, []).append(key)
    for bucket, keys in buckets.items():
        name = b"a" + struct.pack(">HI", 0, bucket)
        entries[name] = checksum(name, b"".join(struct.pack("<QqQ", key, NOW - key, 1 + key % 2) for key in keys))
    for tensor, (_, rows, columns) in enumerate(TENSORS):
        name = b"d" + struct.pack(">II", tensor, 0)
        entries[name] = checksum(name, floats(tensor, rows * columns))
    with open(path, "wb") as file:
        for key, value in sorted(entries.items()):
            file.write(struct.pack("<I", len(key)) + key + struct.pack("<I", len(value)) + value)


if __name__ == "__main__":
    main(sys.argv[1])
