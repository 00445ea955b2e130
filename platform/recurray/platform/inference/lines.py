"""One line in, one line out: a model of texts over raw lines, whatever they hold."""

from collections.abc import Sequence

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.records import SPLIT, Notes, readable, split_text
from recurray.platform.inference.text_model import TextModel


def predict_lines(
    model: TextModel, lines: Sequence[bytes], first_record: int, search: SearchConfig | None, notes: Notes
) -> list[str]:
    """One result a line, in order, none with a line break in it; what was done to which line goes into `notes`."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    for record, line in enumerate(lines, first_record):
        begin = len(parts)
        text = readable(line, record, notes)
        if text:
            pieces = [text] if model.max_pieces is None else split_text(text, model.max_pieces, model.count_pieces)
            if len(pieces) > 1:
                notes.add(SPLIT, record)
            parts.extend(pieces)
        spans.append((begin, len(parts)))
    results = model.predict(parts, search)
    return [" ".join(results[begin:end]) for begin, end in spans]
