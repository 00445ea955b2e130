"""Lines of a text file as no one should write them, seeded, and what a batch job must say of each."""

import random
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache

LONGEST = 20_000
"""Characters."""
SEPARATORS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029\r"
"""Every character but "\\n" that something takes for a line's end."""

_OF_EACH = 500


def fuzzed_lines(count: int, seed: int) -> Iterator[bytes]:
    """So many lines of 0 to LONGEST characters, their lengths log-uniform, without their ends."""
    numbers = random.Random(seed)
    kinds = (_random_bytes, _any_category, _words_between_separators, _words)
    for _ in range(count):
        length = int(LONGEST ** numbers.random()) - 1 if numbers.random() > 0.02 else 0
        yield numbers.choice(kinds)(numbers, length).replace(b"\n", b" ")


def _random_bytes(numbers: random.Random, length: int) -> bytes:
    return numbers.randbytes(length)


def _any_category(numbers: random.Random, length: int) -> bytes:
    """Characters of every category of Unicode, each as likely; those of surrogates make it invalid."""
    keep_surrogates = numbers.random() < 0.1
    text = "".join(numbers.choices(characters_of_every_category(), k=length))
    return text.encode("utf-8", "surrogatepass" if keep_surrogates else "ignore")


def _words_between_separators(numbers: random.Random, length: int) -> bytes:
    words = ("device ", "is ", "not ready. ", *SEPARATORS)
    return "".join(numbers.choices(words, k=length // 4))[:length].encode()


def _words(numbers: random.Random, length: int) -> bytes:
    return ("The device is not available. " * (length // 29 + 1))[:length].encode()


@cache
def characters_of_every_category() -> str:
    """As many characters of each category, spread over all that it has, some more than once where it has few."""
    found: dict[str, list[str]] = {}
    for code in range(sys.maxunicode + 1):
        found.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    return "".join(all_[index * len(all_) // _OF_EACH] for all_ in found.values() for index in range(_OF_EACH))
