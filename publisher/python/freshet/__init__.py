"""Reads models that Freshet publishes to Redis, and scores with them.

    reader = freshet.Reader(redis.Redis(), "shop")
    reader.follow(timeout=5)
    reader.model.score([{"user": 42, "item": "a-17", "price": 9.5}])

Written from schemas/publication.md alone.
"""

from .bodies import BODIES
from .chunk import FormatError
from .model import Model, cross_keys, slot_key
from .reader import MissingKey, OlderVersion, Reader

__all__ = ["BODIES", "FormatError", "MissingKey", "Model", "OlderVersion", "Reader", "cross_keys", "slot_key"]
