"""Chunks: the binary pieces of a version."""

import struct

import numpy
import xxhash

MAGIC = b"FRSHCHNK"
ROWS, DENSE = 1, 2
FP32, FP16 = 1, 2
CHUNK_BYTES = 256 * 1024
HEADER = struct.Struct("<8sHBBIIIIIQQ")
PIECE = struct.Struct("<IIQIHH")


class FormatError(ValueError):
    """Bytes that are not what schemas/publication.md says."""


def checksum(data):
    return xxhash.xxh3_64_intdigest(data)


class Chunk:
    """A parsed chunk. Rows: slot, keys, tombstones, vectors (fp32). Dense: pieces."""

    def __init__(self, data):
        if not HEADER.size + 8 <= len(data) <= CHUNK_BYTES:
            raise FormatError(f"a chunk of {len(data)} bytes")
        self.checksum = int.from_bytes(data[-8:], "little")
        content = data[:-8]
        (magic, form, self.kind, self.element, self.slot, self.dimension, self.count, self.removed,
         self.index, epoch, number) = HEADER.unpack_from(content)
        if magic != MAGIC or form != 1:
            raise FormatError("not a chunk of format 1")
        if checksum(content) != self.checksum:
            raise FormatError("a chunk's checksum does not fit its bytes")
        self.version = (epoch, number)
        if self.element not in (FP32, FP16):
            raise FormatError(f"elements of unknown type {self.element}")
        if self.kind == ROWS:
            self._parse_rows(content)
        elif self.kind == DENSE:
            self._parse_dense(content)
        else:
            raise FormatError(f"a chunk of unknown kind {self.kind}")

    def _parse_rows(self, content):
        if not 4 <= self.dimension <= 256 or self.dimension % 4:
            raise FormatError(f"dimension {self.dimension}")
        vectors = "<f4" if self.element == FP32 else "<f2"
        elements = self.count * self.dimension
        at = HEADER.size
        end = at + 8 * (self.count + self.removed) + elements * numpy.dtype(vectors).itemsize
        if end != len(content):
            raise FormatError("a rows chunk's size does not fit its counts")
        self.keys = numpy.frombuffer(content, "<u8", self.count, at)
        at += 8 * self.count
        self.tombstones = numpy.frombuffer(content, "<u8", self.removed, at)
        at += 8 * self.removed
        read = numpy.frombuffer(content, vectors, elements, at)
        self.vectors = read.astype(numpy.float32).reshape(self.count, self.dimension)

    def _parse_dense(self, content):
        if self.slot or self.dimension or self.removed or self.element != FP32:
            raise FormatError("a dense chunk's header has fields of a rows chunk")
        self.pieces = []
        at = HEADER.size
        for _ in range(self.count):
            if at + PIECE.size > len(content):
                raise FormatError("a piece beyond the end")
            rows, columns, first, elements, name_size, reserved = PIECE.unpack_from(content, at)
            at += PIECE.size
            name = bytes(content[at:at + name_size])
            at += name_size + -name_size % 8
            size = 4 * elements
            if reserved or not name or at + size > len(content) or not 0 < elements <= rows * columns - first:
                raise FormatError("a malformed piece")
            numbers = numpy.frombuffer(content, "<f4", elements, at)
            at += size + -size % 8
            self.pieces.append((name.decode(), rows, columns, first, numbers))
        if at != len(content):
            raise FormatError("bytes after the last piece")
