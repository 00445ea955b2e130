"""A model of texts that threads share, and that streams go through."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.text_model import STREAM_TEXTS
from recurray.platform.inference.translator import Translator

LINES = (Path(__file__).parents[1] / "data" / "test.en").read_text().splitlines()


def test_threads_that_share_a_translator_get_what_one_gets(tiny_model: Path) -> None:
    translator = Translator.from_pretrained(tiny_model)
    alone = translator.translate(LINES[:120])

    def translate(begin: int) -> list[str]:
        return translator.translate(LINES[begin : begin + 15])

    with ThreadPoolExecutor(8) as threads:
        for _ in range(3):
            found = [text for part in threads.map(translate, range(0, 120, 15)) for text in part]
            assert found == alone


def test_a_stream_gives_what_lists_give_and_reads_no_further_ahead_than_it_says(tiny_model: Path) -> None:
    translator = Translator.from_pretrained(tiny_model)
    taken = 0

    def endless() -> Iterator[str]:
        nonlocal taken
        for line in cycle(LINES[:100]):
            taken += 1
            yield line

    greedy = SearchConfig(beam_size=1, max_length=8)
    results = translator.stream(endless(), greedy)
    assert list(islice(results, 300)) == translator.translate([*LINES[:100]] * 3, greedy)
    assert taken == 2 * STREAM_TEXTS
