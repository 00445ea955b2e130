"""Search with products in bfloat16: nearly what single precision finds, at nearly the same scores."""

from pathlib import Path

import pytest
from tests.conftest import DATA

from recurray.platform import Translator
from recurray.platform.config.search import SearchConfig


def test_a_model_in_bfloat16_finds_mostly_the_same_and_scores_it_alike(tiny_model: Path) -> None:
    lines = (DATA / "test.en").read_text(encoding="utf-8").split("\n")[:100]
    search = SearchConfig(beam_size=3, max_length=8)
    exact = Translator.from_pretrained(tiny_model).find(lines, search)
    found = Translator.from_pretrained(tiny_model, bfloat16=True).find(lines, search)
    same = [(one, other) for (one,), (other,) in zip(found, exact, strict=True) if one.text == other.text]
    assert len(same) >= 80
    assert any(one.score != other.score for one, other in same)
    for one, other in same:
        assert one.score == pytest.approx(other.score, abs=0.15)
