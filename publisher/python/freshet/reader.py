"""Follows a published model."""

import json
import re
import time

from . import chunk
from .chunk import Chunk, FormatError
from .model import Model

HEAD = re.compile(rb"([1-9][0-9]*)\.(0|[1-9][0-9]*) ([0-9a-f]{16})")
WINDOW = 16  # chunks asked for at once


class MissingKey(Exception):
    """A key that head refers to is not there: it may have expired meanwhile. Try again."""


class OlderVersion(Exception):
    """Head went back behind the version held."""


def version_parse(text):
    found = re.fullmatch(r"([1-9][0-9]*)\.(0|[1-9][0-9]*)", text)
    if not found:
        raise FormatError(f"not a version: {text}")
    return int(found[1]), int(found[2])


class Reader:
    """Holds the latest version of a model: `model` (None before the first), `version`, `manifest`.

    `client` is a redis.Redis that does not decode responses. One thread follows; a version that was read stays
    valid as an object while the next one is made, so other threads may score with `reader.model` meanwhile.
    """

    def __init__(self, client, name):
        self.client = client
        self.prefix = f"{{freshet:{name}}}:"
        self.name = name
        self.model = None
        self.version = (0, 0)
        self.manifest = None
        self.accept_older = False
        self._head = None
        self._reload = False

    def follow(self, timeout=0.0):
        """Waits up to `timeout` seconds for another version; True if it was loaded."""
        end = time.monotonic() + timeout
        while True:
            entries = self.client.xrevrange(self.prefix + "versions", count=1)
            head = self.client.get(self.prefix + "head")
            if head is not None and (head != self._head or self._reload):
                self._load(head)
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            last = entries[0][0] if entries else "0-0"
            self.client.xread({self.prefix + "versions": last}, block=max(1, int(min(left, 1.0) * 1000)))

    def _load(self, head):
        found = HEAD.fullmatch(head)
        if not found:
            raise FormatError(f"head is {head!r}")
        version = int(found[1]), int(found[2])
        if version < self.version and not self.accept_older:
            raise OlderVersion(f"head is at {version}, held is {self.version}")
        name = f"{version[0]}.{version[1]}"
        try:
            manifest = self._json(name + ":manifest", int(found[3], 16), "manifest")
            if manifest["model"] != self.name or version_parse(manifest["version"]) != version:
                raise FormatError("the manifest of another version")
            parts = self._new_parts(manifest)
            if parts is None:
                text = self._text("descriptor:" + manifest["descriptor"], int(manifest["descriptor"], 16))
                model = Model(json.loads(text))
                parts = [(manifest["base"], "base")] + [(part, "delta") for part in manifest["deltas"]]
            else:
                model = self.model.copy()
            for part, kind in parts:
                for piece in self._part(part, kind):
                    model.apply_rows(piece)
            model.begin_dense(manifest["dense"]["tensors"])
            for piece in self._chunks(name + ":dense:", version, chunk.DENSE, manifest["dense"]["chunks"]):
                model.apply_dense(piece)
            model.end_dense()
        except (FormatError, MissingKey):
            self._reload = True
            raise
        except (KeyError, TypeError, ValueError) as error:
            self._reload = True
            raise FormatError(f"a field that is missing or of another kind: {error!r}") from error
        self.model, self.manifest, self.version, self._head = model, manifest, version, head
        self._reload = self.accept_older = False

    def _new_parts(self, manifest):
        """The parts that the version held lacks; None: it is no beginning of this one."""
        held = self.manifest
        if held is None or self._reload or held["descriptor"] != manifest["descriptor"]:
            return None
        if held["base"] != manifest["base"] or held["deltas"] != manifest["deltas"][:len(held["deltas"])]:
            return None
        return [(part, "delta") for part in manifest["deltas"][len(held["deltas"]):]]

    def _text(self, key, checksum):
        text = self.client.get(self.prefix + key)
        if text is None:
            raise MissingKey(self.prefix + key)
        if chunk.checksum(text) != checksum:
            raise FormatError(f"{key}: the checksum does not fit its bytes")
        return text

    def _json(self, key, checksum, what):
        read = json.loads(self._text(key, checksum))
        if read["format"] != 1:
            raise FormatError(f"a {what} of unknown format")
        return read

    def _part(self, part, kind):
        listed = self._json(part["version"] + ":part", int(part["checksum"], 16), "part")
        if listed["kind"] != kind or listed["version"] != part["version"]:
            raise FormatError("another part than the manifest says")
        version = version_parse(part["version"])
        yield from self._chunks(part["version"] + ":rows:", version, chunk.ROWS, listed["chunks"])

    def _chunks(self, prefix, version, kind, entries):
        for start in range(0, len(entries), WINDOW):
            window = entries[start:start + WINDOW]
            keys = [f"{self.prefix}{prefix}{start + i}" for i in range(len(window))]
            for i, (key, entry, data) in enumerate(zip(keys, window, self.client.mget(keys))):
                if data is None:
                    raise MissingKey(key)
                piece = Chunk(data)
                if (len(data) != entry["size"] or piece.checksum != int(entry["checksum"], 16)
                        or piece.kind != kind or piece.version != version or piece.index != start + i):
                    raise FormatError(f"{key}: another chunk than its list says")
                if kind == chunk.ROWS and (piece.slot, piece.count, piece.removed) != (
                        entry["slot"], entry["rows"], entry["tombstones"]):
                    raise FormatError(f"{key}: another chunk than its list says")
                yield piece
