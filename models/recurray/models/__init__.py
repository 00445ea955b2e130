from recurray.models.dropout import DropoutKey
from recurray.models.loss import LossSums
from recurray.models.padded import Padded
from recurray.models.search import Hypothesis, beam_search
from recurray.models.seq2seq import BOS, EOS, PAD, UNK, Seq2Seq

__all__ = ["BOS", "EOS", "PAD", "UNK", "DropoutKey", "Hypothesis", "LossSums", "Padded", "Seq2Seq", "beam_search"]
