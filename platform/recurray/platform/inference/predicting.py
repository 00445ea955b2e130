"""One record in, one result out: a model of texts over records, whatever they hold."""

import json
from collections.abc import Sequence

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.records import NOTHING, SPLIT, Notes, Source, on_one_line, readable, split_text
from recurray.platform.inference.text_model import Result, TextModel


def predict_records(
    model: TextModel, sources: Sequence[Source], first_record: int, search: SearchConfig | None, notes: Notes
) -> list[tuple[str]]:
    """The result of each record, in order, without a line break in it; what was done to which goes into `notes`."""
    parts, spans = _parts(model, sources, first_record, notes)
    results = model.predict(parts, search)
    texts = [on_one_line(" ".join(results[begin:end])) for begin, end in spans]
    _note_nothing(texts, spans, first_record, notes)
    return [(text,) for text in texts]


def predict_details(
    model: TextModel, sources: Sequence[Source], first_record: int, search: SearchConfig | None, notes: Notes
) -> list[tuple[str, str]]:
    """The same with details as a JSON list: each of the best results with score, pieces, log-probabilities, places.

    The k-th result of a record that was split is made of the k-th of each part; it has no places in the source.
    """
    parts, spans = _parts(model, sources, first_record, notes)
    found = model.find(parts, search)
    records = [Result.joined(found[begin:end]) for begin, end in spans]
    texts = [on_one_line(best[0].text if best else "") for best in records]
    _note_nothing(texts, spans, first_record, notes)
    return [(text, _json(best)) for text, best in zip(texts, records, strict=True)]


def _parts(
    model: TextModel, sources: Sequence[Source], first_record: int, notes: Notes
) -> tuple[list[str], list[tuple[int, int]]]:
    """The texts that the model is given, and for each record which of them are its own."""
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
    return parts, spans


def _note_nothing(texts: Sequence[str], spans: Sequence[tuple[int, int]], first_record: int, notes: Notes) -> None:
    """Notes the records that the model was given, and made nothing of."""
    for record, (text, (begin, end)) in enumerate(zip(texts, spans, strict=True), first_record):
        if begin < end and not text.strip():
            notes.add(NOTHING, record)


def _json(results: Sequence[Result]) -> str:
    return json.dumps([result.to_json() for result in results], ensure_ascii=False)
