"""Orders and identities made by hashing, the same on any machine and with any version of a library."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def splitmix64(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of SplitMix64 (Steele et al. 2014): a bijection that scatters neighbouring words."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def shuffled(count: int, *key: int) -> NDArray[np.int64]:
    """The numbers 0 … count-1 in an order that is a pure function of `count` and `key`."""
    salt = np.zeros(1, np.uint64)
    for word in key:
        salt = splitmix64(salt ^ np.uint64(word))
    return np.argsort(splitmix64(np.arange(count, dtype=np.uint64) ^ salt), kind="stable")


def digest(parts: Iterable[str]) -> str:
    """A short identity (16 hexadecimal digits) of a list of texts."""
    hasher = hashlib.blake2b(digest_size=8)
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little") + part.encode("utf-8", "surrogateescape"))
    return hasher.hexdigest()


def file_digest(path: Path) -> str:
    """An identity of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8)).hexdigest()
