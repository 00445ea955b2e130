"""One line in, one line out: a translator over raw lines, whatever they hold."""

from collections.abc import Sequence

from recurray.platform.config.tree import SearchConfig
from recurray.platform.inference.records import SPLIT, Notes, readable, split_text
from recurray.platform.inference.translator import Translator


def translate_lines(
    translator: Translator, lines: Sequence[bytes], first_record: int, search: SearchConfig | None, notes: Notes
) -> list[str]:
    """One translation a line, in order, none with a line break in it; what was done to which line goes into `notes`."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    for record, line in enumerate(lines, first_record):
        begin = len(parts)
        text = readable(line, record, notes)
        if text:
            pieces = split_text(text, translator.max_pieces, translator.count_pieces)
            if len(pieces) > 1:
                notes.add(SPLIT, record)
            parts.extend(pieces)
        spans.append((begin, len(parts)))
    translations = translator.translate(parts, search)
    return [" ".join(translations[begin:end]) for begin, end in spans]
