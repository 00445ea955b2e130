"""The vocabulary: a function of its texts, also where there are more than are drawn from."""

import subprocess
import sys

from tests.conftest import DATA

_PIECES = """
import sys
from pathlib import Path
from recurray.platform.config.tree import TokenizerConfig
from recurray.platform.data import tokenizer

tokenizer.SAMPLE_LINES = 400
texts = [text for path in sys.argv[1:] for text in Path(path).read_text(encoding="utf-8").split("\\n")]
print(len(texts), tokenizer.Tokenizer.train(texts, TokenizerConfig(vocab_size=450)).pieces())
"""


def pieces_of_400_lines() -> str:
    files = [str(DATA / f"test.{side}") for side in ("en", "de")]
    return subprocess.run([sys.executable, "-c", _PIECES, *files], check=True, capture_output=True, text=True).stdout


def test_another_process_draws_the_same_lines_and_so_has_the_same_pieces() -> None:
    found = pieces_of_400_lines()
    assert found.startswith("1002 ")
    assert found == pieces_of_400_lines() == pieces_of_400_lines()


def test_lines_are_drawn_from_all_texts_and_not_from_the_first_ones() -> None:
    assert "ü" in pieces_of_400_lines()  # the German ones come last
