"""SentencePiece, with the piece numbers that the models expect and bytes for characters that it never saw."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import sentencepiece

from recurray.models import BOS, EOS, PAD, UNK
from recurray.platform.config.tree import TokenizerConfig
from recurray.platform.errors import UserError

TOKENIZER_FILE = "tokenizer.model"


class Tokenizer:
    """Texts to piece numbers and back."""

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    @classmethod
    def train(cls, texts: Iterable[str], config: TokenizerConfig, threads: int) -> "Tokenizer":
        """Chooses the pieces; UserError where the texts cannot fill the vocabulary."""
        model = io.BytesIO()
        try:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(texts),
                model_writer=model,
                vocab_size=config.vocab_size,
                model_type=config.kind,
                normalization_rule_name=config.normalization,
                byte_fallback=True,
                pad_id=PAD,
                unk_id=UNK,
                bos_id=BOS,
                eos_id=EOS,
                input_sentence_size=2_000_000,
                max_sentence_length=100_000,
                num_threads=threads,
                minloglevel=2,
            )
        except RuntimeError as fault:
            raise UserError(
                f"tokenizer.vocab_size {config.vocab_size} does not suit these texts (SentencePiece says: {fault})."
            ) from None
        return cls(model.getvalue())

    @classmethod
    def load(cls, folder: Path) -> "Tokenizer":
        """From a prepared folder or a saved model."""
        return cls((folder / TOKENIZER_FILE).read_bytes())

    def save(self, folder: Path) -> None:
        """Writes `tokenizer.model`."""
        (folder / TOKENIZER_FILE).write_bytes(self._model)

    @property
    def vocab_size(self) -> int:
        """Pieces in the vocabulary."""
        return int(self._processor.get_piece_size())

    def encode(self, texts: Sequence[str], threads: int = 1) -> list[list[int]]:
        """Piece numbers of each text, ending in EOS."""
        pieces: list[list[int]] = self._processor.encode(list(texts), add_eos=True, num_threads=threads)
        return pieces

    def decode(self, pieces: Sequence[Sequence[int]]) -> list[str]:
        """The text of each list of piece numbers, on one line whatever pieces were found."""
        return [" ".join(str(text).split()) for text in self._processor.decode([list(ids) for ids in pieces])]
