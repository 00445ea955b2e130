"""SentencePiece, with the piece numbers that the models expect and bytes for characters that it never saw."""

import io
import os
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from recurray.models import BOS, EOS, PAD, UNK
from recurray.platform.config.tree import TokenizerConfig
from recurray.platform.errors import UserError

TOKENIZER_FILE = "tokenizer.model"

SAMPLE_LINES, LINE_CHARACTERS = 50_000, 200
"""What the pieces are chosen from: so many lines, drawn from all texts, of at most so many characters."""

_LINE = re.compile(rf"\S(?:.{{0,{LINE_CHARACTERS - 2}}}\S)?(?=\s|$)|\S{{{LINE_CHARACTERS}}}")
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


class Tokenizer:
    """Texts to piece numbers and back."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig) -> "Tokenizer":
        """Chooses the pieces, the same for the same texts; UserError where these cannot fill the vocabulary."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(_sampled(line for text in texts for line in _LINE.findall(_one_line(text)))),
                model_writer=model,
                vocab_size=config.vocab_size,
                model_type=config.kind,
                normalization_rule_name=config.normalization,
                byte_fallback=True,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                num_threads=os.cpu_count() or 1,
                minloglevel=2,
            )
        except RuntimeError as fault:
            raise UserError(
                f"tokenizer.vocab_size {config.vocab_size} does not suit these texts (SentencePiece says: {fault})."
            ) from None
        return cls(model.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """From a prepared folder or a saved model; UserError where its file is missing or damaged."""
        path = folder / TOKENIZER_FILE
        try:
            return cls(path.read_bytes())
        except FileNotFoundError:
            raise UserError(f"{folder} is not a saved model: it has no {TOKENIZER_FILE}.") from None
        except RuntimeError as fault:
            raise UserError(f"{path} is damaged or no SentencePiece model ({fault}).") from None

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.model`."""
        (folder / TOKENIZER_FILE).write_bytes(self._model)

    @property
    def vocab_size(self) -> int:
        """Pieces in the vocabulary."""
        return int(self._processor.get_piece_size())

    def pieces(self) -> list[str]:
        """Every piece by its number; `▁` at the start of one stands for a space."""
        return self.spelled(range(self.vocab_size))

    def spelled(self, numbers: Sequence[int]) -> list[str]:
        """Each piece as the vocabulary spells it."""
        return [str(self._processor.id_to_piece(number)) for number in numbers]

    def numbers_of(self, pieces: Sequence[str]) -> list[int]:
        """The number of each piece as `pieces` spells it; UserError where the vocabulary lacks one."""
        numbers = [int(self._processor.piece_to_id(piece)) for piece in pieces]
        for piece, number in zip(pieces, numbers, strict=True):
            if number in (PAD, UNK, BOS, EOS):
                raise UserError(
                    f"`{piece}` is no piece of the model's vocabulary that could be forbidden or forced; a "
                    "word's first piece begins with ▁, as `spm_export_vocab` lists them."
                )
        return numbers

    def encode(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Piece numbers of each text, ending in EOS; line ends and other control characters are read as spaces."""
        lines = [_one_line(text) for text in texts]
        pieces: list[list[int]] = self._processor.encode(lines, add_eos=True, num_threads=threads)
        return pieces

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """The text of each list of piece numbers, on one line whatever pieces were found."""
        texts = self._processor.decode([list(ids) for ids in pieces], num_threads=1)  # its threads begin anew each time
        return [" ".join(str(text).split()) for text in texts]


def _sampled(lines: Iterable[str]) -> list[str]:
    """At most SAMPLE_LINES of them, the same of the same (Vitter 1985, algorithm R).

    SentencePiece's own draw is another each time, whatever seed it is given from Python.
    """
    draw = random.Random(1)
    kept: list[str] = []
    for count, line in enumerate(lines):
        if count < SAMPLE_LINES:
            kept.append(line)
        elif (place := draw.randrange(count + 1)) < SAMPLE_LINES:
            kept[place] = line
    return kept


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", text)
