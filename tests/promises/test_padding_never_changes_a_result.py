"""Promise 1, on 500 real lines with a trained model: alone or padded in any batch, the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from recurray.models import DropoutKey, Padded, Seq2Seq
from recurray.platform.config.search import SearchConfig
from recurray.platform.inference.translator import Translator
from recurray.platform.saved_model import SavedModel, load
from recurray.platform.tasks.text import tokenizer_of

TOLERANCE = 1e-5
DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def saved(tiny_model: Path) -> SavedModel:
    return load(tiny_model)


@pytest.fixture(scope="module")
def lines() -> tuple[list[str], list[str]]:
    src, tgt = ((DATA / f"test.{side}").read_text().splitlines() for side in ("en", "de"))
    assert len(src) == len(tgt) == 500
    return src, tgt


@pytest.fixture(scope="module")
def pieces(saved: SavedModel, lines: tuple[list[str], list[str]]) -> list[tuple[list[int], list[int]]]:
    tokenizer = tokenizer_of(saved.codec)
    return list(zip(*(tokenizer.encode(side) for side in lines), strict=True))


def padded(sequences: list[list[int]]) -> Padded:
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    rows = [torch.tensor(sequence) for sequence in sequences]
    return Padded(torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), lengths)


def batches(pairs: list[tuple[list[int], list[int]]], size: int) -> Iterator[tuple[Padded, Padded, Tensor]]:
    for begin in range(0, len(pairs), size):
        src, tgt = zip(*pairs[begin : begin + size], strict=True)
        yield padded(list(src)), padded(list(tgt)), torch.arange(begin, begin + len(src))


def relative_difference(one: Tensor, other: Tensor) -> float:
    return ((one - other).abs().max() / other.abs().max()).item()


def test_encoder_states_of_a_line_are_the_same_alone_and_in_a_batch(
    saved: SavedModel, pieces: list[tuple[list[int], list[int]]]
) -> None:
    for src, _, numbers in batches(pieces, 64):
        together = saved.network.encode(src).values
        for row, number in enumerate(numbers.tolist()):
            alone = saved.network.encode(padded([pieces[number][0]])).values[0]
            assert relative_difference(together[row, : len(alone)], alone) < TOLERANCE
            assert not together[row, len(alone) :].any()


def gradients(network: Seq2Seq, pairs: list[tuple[list[int], list[int]]], size: int) -> tuple[float, list[Tensor]]:
    network.zero_grad()
    total = 0.0
    for src, tgt, numbers in batches(pairs, size):
        sums = network(src, tgt, DropoutKey(seed=3, step=7, examples=numbers), 0.1)
        sums.loss.backward()
        total += float(sums.loss.detach())
    return total, [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


def test_loss_and_gradients_are_the_same_for_lines_alone_and_in_batches_with_dropout_on(
    saved: SavedModel, pieces: list[tuple[list[int], list[int]]]
) -> None:
    loss_alone, alone = gradients(saved.network, pieces, 1)
    for size in (7, 64):
        loss, together = gradients(saved.network, pieces, size)
        assert loss == pytest.approx(loss_alone, rel=TOLERANCE)
        assert max(map(relative_difference, together, alone)) < TOLERANCE


@pytest.mark.parametrize("beam_size", [1, 5])
def test_translations_are_the_same_at_any_batch_size(
    tiny_model: Path, lines: tuple[list[str], list[str]], beam_size: int
) -> None:
    translator = Translator.from_pretrained(tiny_model)
    search = SearchConfig(beam_size=beam_size, max_length_factor=1.0)  # a tiny model does not know when to stop
    src = lines[0]
    alone = [translator.translate([line], search)[0] for line in src]
    for size in (7, 64):
        together = [
            text for begin in range(0, 500, size) for text in translator.translate(src[begin : begin + size], search)
        ]
        assert together == alone
