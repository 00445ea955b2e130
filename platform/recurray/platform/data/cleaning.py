"""Which training pairs are left out, and why: every one that is left out is counted under its reason."""

from collections import Counter
from collections.abc import Iterable, Iterator

from recurray.platform.config.tree import DataConfig
from recurray.platform.corpora.readers import Pair

RATIO_SLACK = 10
"""Pieces by which sides may always differ: the ratio of short texts says little."""


def clean_texts(pairs: Iterable[Pair], dropped: Counter[str]) -> Iterator[Pair]:
    """The pairs whose texts can be learned from, each pair once."""
    seen: set[int] = set()
    for pair in pairs:
        reason = _fault(pair)
        key = hash(pair)
        if reason is None and key in seen:
            reason = "duplicate pair"
        if reason is not None:
            dropped[reason] += 1
            continue
        seen.add(key)
        yield pair


def _fault(pair: Pair) -> str | None:
    if not pair.src.strip() or not pair.tgt.strip():
        return "empty side"
    try:
        (pair.src + pair.tgt).encode("utf-8")
    except UnicodeEncodeError:  # readers pass invalid bytes on as lone surrogates
        return "invalid UTF-8"
    return None


def clean_lengths(src_length: int, tgt_length: int, config: DataConfig) -> str | None:
    """Why an encoded pair is left out, if it is."""
    if src_length > config.max_src_pieces:
        return f"source longer than {config.max_src_pieces} pieces"
    if tgt_length > config.max_tgt_pieces:
        return f"target longer than {config.max_tgt_pieces} pieces"
    shorter, longer = sorted((src_length, tgt_length))
    if config.max_length_ratio is not None and longer > config.max_length_ratio * shorter + RATIO_SLACK:
        return f"length ratio above {config.max_length_ratio:g}"
    return None
