"""A model of texts that threads share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
