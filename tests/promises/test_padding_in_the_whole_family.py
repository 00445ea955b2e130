"""Promise 1 for every kind of encoder with every attention and every decoder: real lines alone and in a batch."""

from itertools import product

import pytest
import torch
from tests.models.samples import best_targets
from tests.promises.test_padding_never_changes_a_result import DATA, TOLERANCE, padded, relative_difference
from torch import Tensor

from recurray.models import DropoutKey, Seq2Seq
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.tree import TokenizerConfig
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.network import build_seq2seq

pytestmark = pytest.mark.slow

LINES = 6
LSTM = {"kind": "lstm", "hidden_dim": 16}
TRANSFORMER = {"kind": "transformer", "layers": 1, "heads": 2, "feed_forward_dim": 32}
ENCODERS = {
    **{kind: [{"kind": kind, "hidden_dim": 16}] for kind in ("lstm", "gru", "rnn", "peephole", "lnlstm")},
    "forward lstm": [{"kind": "lstm", "hidden_dim": 32, "bidirectional": False}],
    "transformer": [TRANSFORMER],
    "sinusoidal transformer": [TRANSFORMER | {"positions": "sinusoidal"}],
    "windowed transformer": [TRANSFORMER | {"window": 3}],
    "transformer over lstm": [LSTM, TRANSFORMER | {"positions": "none"}],
    "lstm over transformer": [TRANSFORMER, LSTM],
    "columns side by side": [{"kind": "columns", "columns": [[LSTM | {"hidden_dim": 8}], [LSTM | {"hidden_dim": 8}]]}],
    "gated columns": [{"kind": "columns", "columns": [[LSTM], [TRANSFORMER]], "merge": "gate"}],
    "pyramid": [LSTM, {"kind": "pyramid", "factor": 3}],
}
ATTENTIONS = {
    **{kind: {"kind": kind, "heads": 2} for kind in ("additive", "dot", "general", "multi_head")},
    "local": {"kind": "multi_head", "heads": 2, "window": 6},
}
RECURRENT = {"kind": "recurrent", "hidden_dim": 32, "layers": 2}
DECODERS = {
    "lstm": RECURRENT,
    "gru": RECURRENT | {"cell": "gru"},
    "input feeding": RECURRENT | {"input_feeding": True},
    "transformer": {"kind": "transformer", "layers": 1, "heads": 2, "feed_forward_dim": 32},
}
COPYING = {"coverage": {"coverage": True}, "copying": {"coverage": False}}
COMBINATIONS = [
    *((*parts, None) for parts in product(ENCODERS, ATTENTIONS, DECODERS)),
    *((encoder, "additive", "lstm", pointer) for encoder in ENCODERS if encoder != "pyramid" for pointer in COPYING),
    *(("lstm", "multi_head", decoder, "copying") for decoder in DECODERS),
]


@pytest.fixture(scope="module")
def pairs() -> list[tuple[list[int], list[int]]]:
    """Real lines of many lengths as pieces."""
    src, tgt = ((DATA / f"test.{side}").read_text().splitlines() for side in ("en", "de"))
    tokenizer = Tokenizer.train([*src, *tgt], TokenizerConfig(vocab_size=500))
    encoded = [pair for pair in zip(tokenizer.encode(src), tokenizer.encode(tgt), strict=True) if len(pair[1]) < 30]
    encoded.sort(key=lambda pair: len(pair[0]))
    return encoded[:: len(encoded) // (LINES - 1)][:LINES]


def build(encoder: str, attention: str, decoder: str, pointer: str | None) -> Seq2Seq:
    config = ModelConfig.model_validate(
        {
            "embedding_dim": 32,
            "encoder": ENCODERS[encoder],
            "attention": ATTENTIONS[attention],
            "decoder": DECODERS[decoder],
            "pointer": COPYING[pointer] if pointer else None,
        }
    )
    torch.manual_seed(1)
    return build_seq2seq(config, vocab_size=500)


def loss_and_gradients(network: Seq2Seq, pairs: list[tuple[list[int], list[int]]], numbers: list[int]) -> list[Tensor]:
    src, tgt = (padded([pairs[number][side] for number in numbers]) for side in (0, 1))
    loss = network(src, tgt, DropoutKey(seed=3, step=7, examples=torch.tensor(numbers)), 0.1).loss
    return [loss, *torch.autograd.grad(loss, list(network.parameters()))]


def translations(network: Seq2Seq, sources: list[list[int]], beam_size: int) -> list[list[int]]:
    src = padded(sources)
    found = best_targets(network, src, beam_size=beam_size, length_penalty=1.0, max_lengths=src.lengths + 2)
    return [hypothesis.pieces for hypothesis in found]


@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda parts: ", ".join(filter(None, parts)))
def test_states_loss_gradients_and_translations_are_the_same_alone_and_in_a_batch(
    combination: tuple[str, str, str, str | None], pairs: list[tuple[list[int], list[int]]]
) -> None:
    network = build(*combination)
    sources = [src for src, _ in pairs]
    together = network.encode(padded(sources))
    for row, source in enumerate(sources):
        alone = network.encode(padded([source])).values[0]
        assert relative_difference(together.values[row, : len(alone)], alone) < TOLERANCE
        assert not together.values[row, len(alone) :].any()
    parts = [loss_and_gradients(network, pairs, [number]) for number in range(LINES)]
    sums = [torch.stack(part).sum(dim=0) for part in zip(*parts, strict=True)]
    for whole, summed in zip(loss_and_gradients(network, pairs, list(range(LINES))), sums, strict=True):
        assert relative_difference(whole, summed) < TOLERANCE
    network.double()  # an untrained network has near ties, which the last digit of single precision may decide
    for beam_size in (1, 3):
        apart = [pieces for source in sources for pieces in translations(network, [source], beam_size)]
        assert translations(network, sources, beam_size) == apart
