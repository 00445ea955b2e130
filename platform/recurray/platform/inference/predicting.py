"""One record in, one result out: a model of texts over records, whatever they hold."""

from collections.abc import Sequence

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.records import SPLIT, Notes, Source, on_one_line, readable, split_text
from recurray.platform.inference.text_model import TextModel


def predict_records(
    model: TextModel, sources: Sequence[Source], first_record: int, search: SearchConfig | None, notes: Notes
) -> list[str]:
    """One result a record, in order, none with a line break in it; what was done to which goes into `notes`."""
    parts: list[str] = []
    spans: list[tuple[int, int]] = []
    for record, source in enumerate(sources, first_record):
        begin = len(parts)
        text = readable(source, record, notes)
        if text:
            pieces = [text] if model.max_pieces is None else split_text(text, model.max_pieces, model.count_pieces)
            if len(pieces) > 1:
                notes.add(SPLIT, record)
            parts.extend(pieces)
        spans.append((begin, len(parts)))
    results = model.predict(parts, search)
    return [on_one_line(" ".join(results[begin:end])) for begin, end in spans]
