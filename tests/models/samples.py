"""What the tests of the models share: random batches, small models, and when two results are the same."""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from recurray.models import EOS, Hypothesis, Padded, Room, SearchOptions, Seq2Seq, Source, search_targets
from recurray.models.attention.additive import AdditiveAttention, CoverageAttention
from recurray.models.attention.attention import Attention
from recurray.models.attention.multi_head import MultiHeadAttention
from recurray.models.blocks.block import Block
from recurray.models.blocks.recurrent import RecurrentBlock
from recurray.models.blocks.transformer import TransformerBlock
from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.decoders.decoder import Decoder
from recurray.models.decoders.recurrent import RecurrentDecoder
from recurray.models.decoders.transformer import TransformerDecoder
from recurray.models.encoder import Cascade
from recurray.models.output import VocabularyOutput
from recurray.models.pointer import PointerOutput
from recurray.models.seq2seq import Embedding

M = TypeVar("M", bound=nn.Module)

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}
SMALL = 0.1
"""Where all that is expected is smaller than this, differences are taken relative to this."""

EMBEDDING_DIM, HIDDEN_DIM, HEADS, LAYERS = 16, 8, 2, 2  # encoder states are as wide as embeddings: residuals throughout
FAMILIES = ["lstm", "gru", "input_feeding", "transformer", "pointer", "coverage"]


def random_sequences(lengths: Sequence[int], dim: int, seed: int = 1) -> Padded:
    """(B, T, dim) float32, with numbers at padding too."""
    values = torch.randn(len(lengths), max(lengths), dim, generator=torch.Generator().manual_seed(seed))
    return Padded(values, torch.tensor(lengths))


def random_lines(lengths: Sequence[int], vocab: int, seed: int) -> Padded:
    """Random pieces, each line ending in EOS, padding 0."""
    shape, generator = (len(lengths), max(lengths)), torch.Generator().manual_seed(seed)
    lines = Padded(torch.randint(EOS + 1, vocab, shape, generator=generator), torch.tensor(lengths))
    lines.values[torch.arange(len(lengths)), lines.lengths - 1] = EOS
    return lines.with_values(lines.values * lines.mask_bt)


def alone(batch: Padded, row: int) -> Padded:
    """A sequence in a batch of its own, without padding."""
    length = int(batch.lengths[row])
    return Padded(batch.values[row : row + 1, :length], batch.lengths[row : row + 1])


def own(batch: Padded) -> list[Tensor]:
    """(length, …) each: the sequences without padding."""
    return [values[:length] for values, length in zip(batch.values, batch.lengths.tolist(), strict=True)]


def best_targets(
    model: Seq2Seq, src: Padded, *, max_lengths: Tensor, room: Room | None = None, **options: Any
) -> list[Hypothesis]:
    """The best target of each source; by default all are searched at once."""
    limits = max_lengths.tolist()
    sources = [Source(values.tolist(), limit) for values, limit in zip(own(src), limits, strict=True)]
    found = search_targets(model, sources, SearchOptions(**options), room=room or Room(), device=src.values.device)
    return [hypotheses[0] for hypotheses in found]


def randomized(module: M, seed: int = 0) -> M:
    """The module with every parameter moved from where it starts, so that no bias is 0 and no factor 1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return module


def assert_same(found: Iterable[Tensor], expected: Iterable[Tensor], *, tolerance: float = 1e-10) -> None:
    """Tensor by tensor, relative to the largest number that is expected."""
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        if one.numel():
            largest = max(SMALL, other.abs().max().item())
            assert (one.to(other.dtype) - other).abs().max() <= tolerance * largest


def with_gradients(outputs: Sequence[Tensor], of: Sequence[Tensor]) -> list[Tensor]:
    """The outputs, and the gradients of one random sum of them."""
    generator = torch.Generator().manual_seed(0)
    loss = torch.zeros(())
    for output in outputs:
        loss = loss + (output * torch.randn(output.shape, generator=generator).to(output.dtype)).sum()
    return [*outputs, *torch.autograd.grad(loss, of, materialize_grads=True, retain_graph=True)]


def assert_computes(
    ours: Callable[..., Sequence[Tensor]],
    written_out: Callable[..., Sequence[Tensor]],
    module: nn.Module,
    inputs: Sequence[Tensor],
    dtype: torch.dtype,
) -> None:
    """`ours(module, *inputs)` in `dtype` gives what `written_out(module, *inputs)` does in float64, gradients too."""
    results = []
    for function, precision in ((ours, dtype), (written_out, torch.float64)):
        twin = copy.deepcopy(module).to(precision)
        given = [values.detach().to(precision, copy=True).requires_grad_() for values in inputs]
        results.append(with_gradients(function(twin, *given), [*given, *twin.parameters()]))
    assert_same(results[0], results[1], tolerance=TOLERANCE[dtype])


def passes_gradcheck(run: Callable[[], Any], of: Sequence[Tensor]) -> bool:
    """PyTorch's numerical check of what `run` computes from `of`, float64 tensors and parameters among them."""
    return torch.autograd.gradcheck(lambda *_: run(), tuple(of))


def build_seq2seq(
    family: str = "lstm", *, vocab: int, dropout: float = 0.0, tie_embeddings: bool = False, layers: int = LAYERS
) -> Seq2Seq:
    """A small float64 model of one of the `FAMILIES`."""
    torch.manual_seed(0)
    src_embedding = Embedding(vocab, EMBEDDING_DIM)
    tgt_embedding = src_embedding if tie_embeddings else Embedding(vocab, EMBEDDING_DIM)
    encoder = Cascade([_encoder_block(family, dropout, layers)])
    decoder = _decoder(family, encoder.output_dim, dropout)
    weight = tgt_embedding.weight if tie_embeddings else nn.Parameter(tgt_embedding.weight.detach().clone())
    output = VocabularyOutput(weight)
    if family in ("pointer", "coverage"):
        output = PointerOutput(
            weight,
            context_dim=decoder.context_dim,
            decoder_dim=decoder.output_dim,
            input_dim=EMBEDDING_DIM,
            coverage_weight=0.7,
        )
    return Seq2Seq(src_embedding, tgt_embedding, encoder, decoder, output).double()


def _encoder_block(family: str, dropout: float, layers: int) -> Block:
    if family == "transformer":
        return TransformerBlock(
            EMBEDDING_DIM,
            layers=layers,
            heads=HEADS,
            feed_forward_dim=24,
            positions="rotary",
            window=None,
            dropout=dropout,
            place="encoder.0",
        )
    return RecurrentBlock(
        EMBEDDING_DIM,
        cell=GRU if family == "gru" else LSTM,
        hidden_dim=HIDDEN_DIM,
        layers=layers,
        bidirectional=True,
        residual=True,
        dropout=dropout,
        place="encoder.0",
    )


def _decoder(family: str, memory_dim: int, dropout: float) -> Decoder:
    kinds: dict[str, type[Attention]] = {"coverage": CoverageAttention, "input_feeding": AdditiveAttention}
    kind = kinds.get(family, MultiHeadAttention)
    attention = partial(_attention, kind, memory_dim)
    if family == "transformer":
        return TransformerDecoder(
            EMBEDDING_DIM,
            memory_dim,
            attention=attention,
            layers=LAYERS,
            heads=HEADS,
            feed_forward_dim=24,
            dropout=dropout,
        )
    return RecurrentDecoder(
        EMBEDDING_DIM,
        memory_dim,
        attention=attention,
        cell=GRU if family == "gru" else LSTM,
        hidden_dim=HIDDEN_DIM,
        layers=LAYERS,
        input_feeding=family == "input_feeding",
        dropout=dropout,
    )


def _attention(kind: Callable[..., Attention], memory_dim: int, query_dim: int) -> Attention:
    return kind(query_dim, memory_dim, query_dim, HEADS)
