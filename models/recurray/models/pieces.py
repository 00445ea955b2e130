"""Piece numbers with a meaning of their own; the tokenizer is trained with the same."""

PAD, UNK, BOS, EOS = 0, 1, 2, 3
