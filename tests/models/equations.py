"""The equations of the models written out, for one sequence without padding and one step at a time.

Nothing here runs a module of recurray: only their parameters are read. What a module was told when it was made is told
here again, so that one that forgets what it was told does not pass.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from recurray.models.attention.additive import AdditiveAttention, CoverageAttention
from recurray.models.attention.attention import Attention
from recurray.models.attention.dot import DotAttention, GeneralAttention
from recurray.models.attention.local import LocalAttention
from recurray.models.attention.multi_head import MultiHeadAttention
from recurray.models.attention.self_attention import SelfAttention
from recurray.models.blocks.pyramid import PyramidBlock
from recurray.models.blocks.recurrent import RecurrentBlock
from recurray.models.blocks.transformer import FeedForward, TransformerBlock
from recurray.models.cells.cell import Cell
from recurray.models.cells.gru import GRU
from recurray.models.cells.lstm import LSTM
from recurray.models.decoders.recurrent import RecurrentDecoder
from recurray.models.decoders.transformer import CausalSelfAttention, TransformerDecoder
from recurray.models.encoder import MultiColumn
from recurray.models.output import VocabularyOutput
from recurray.models.pointer import PointerOutput

State = tuple[Tensor, ...]
ScoresAndValues = Iterator[tuple[Tensor, Tensor]]
STATE_TENSORS: dict[type[Cell], int] = {LSTM: 2, GRU: 1}


def linear(layer: nn.Linear, values: Tensor) -> Tensor:
    products = values @ layer.weight.T
    return products if layer.bias is None else products + layer.bias


def layer_norm(norm: nn.LayerNorm, values: Tensor) -> Tensor:
    centred = values - values.mean(dim=-1, keepdim=True)
    deviation = (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * norm.weight + norm.bias


def feed_forward(network: FeedForward, values: Tensor) -> Tensor:
    wide = linear(network.widen, values)
    return linear(network.narrow, wide * (1 + torch.erf(wide / math.sqrt(2))) / 2)


def cell_step(cell: Cell, value_d: Tensor, state: State) -> State:
    weight, recurrent, input_bias, recurrent_bias = cell.parameters()
    from_input, from_state = weight @ value_d + input_bias, recurrent @ state[0] + recurrent_bias
    if isinstance(cell, LSTM):
        i, f, g, o = (from_input + from_state).chunk(4)
        memory = f.sigmoid() * state[1] + i.sigmoid() * g.tanh()
        return o.sigmoid() * memory.tanh(), memory
    (reset, update, new), (reset_too, update_too, new_too) = from_input.chunk(3), from_state.chunk(3)
    kept = (update + update_too).sigmoid()
    return (kept * state[0] + (1 - kept) * torch.tanh(new + (reset + reset_too).sigmoid() * new_too),)


def read(cell: Cell, values_td: Tensor, hidden_dim: int) -> Tensor:
    """Outputs (T, hidden_dim) from a state of zeros on."""
    state: State = (values_td.new_zeros(hidden_dim),) * STATE_TENSORS[type(cell)]
    outputs = []
    for value_d in values_td:
        state = cell_step(cell, value_d, state)
        outputs.append(state[0])
    return torch.stack(outputs)


def turned(vector_d: Tensor, place: int) -> Tensor:
    """Rotary embedding, in complex numbers: units k and k + d/2 are one, times exp(i place 10000^(-2k/d))."""
    half = len(vector_d) // 2
    angles = place / 10_000 ** (torch.arange(half, dtype=torch.float64) * 2 / len(vector_d))
    product = torch.complex(vector_d[:half], vector_d[half:]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat((product.real, product.imag))


def sinusoid(place: int, dim: int) -> Tensor:
    angles = [place / 10_000 ** (unit / dim) for unit in range(0, dim, 2)]
    return torch.tensor([*map(math.sin, angles), *map(math.cos, angles)][:dim], dtype=torch.float64)


def self_attention(
    layer: SelfAttention | CausalSelfAttention,
    states_td: Tensor,
    *,
    heads: int,
    sees: Callable[[int, int], bool],
    rotary: bool,
) -> Tensor:
    """What each state finds in those that it sees, head by head and state by state."""
    time = range(len(states_td))
    query, key, value = (states_td @ weight.T for weight in layer.query_key_value.weight.chunk(3))
    found: list[list[Tensor]] = [[] for _ in time]
    for units in torch.arange(states_td.shape[1]).chunk(heads):
        queries, keys = (
            [turned(row[units], t) if rotary else row[units] for t, row in zip(time, part, strict=True)]
            for part in (query, key)
        )
        for t in time:
            seen = [s for s in time if sees(t, s)]
            scores = torch.stack([queries[t] @ keys[s] for s in seen]) / math.sqrt(len(units))
            found[t].append(scores.softmax(dim=0) @ value[seen][:, units])
    return torch.stack([torch.cat(heads_of) for heads_of in found]) @ layer.output.weight.T


def recurrent_block(block: RecurrentBlock, states_td: Tensor, *, hidden_dim: int) -> Tensor:
    """A bidirectional one with residuals."""
    for layer in block.layers:
        ahead = read(layer.forwards, states_td, hidden_dim)
        back = read(layer.backwards, states_td.flip(0), hidden_dim).flip(0)
        outputs = torch.cat((ahead, back), dim=-1)
        states_td = outputs + states_td if outputs.shape == states_td.shape else outputs
    return states_td


def transformer_block(
    block: TransformerBlock, states_td: Tensor, *, heads: int, positions: str, window: int | None
) -> Tensor:
    def sees(one: int, other: int) -> bool:
        return window is None or abs(one - other) <= window

    if positions == "sinusoidal":
        states_td = states_td + torch.stack([sinusoid(place, states_td.shape[1]) for place in range(len(states_td))])
    for layer in block.layers:
        normed = layer_norm(layer.attention_norm, states_td)
        states_td = states_td + self_attention(
            layer.attention, normed, heads=heads, sees=sees, rotary=positions == "rotary"
        )
        states_td = states_td + feed_forward(layer.feed_forward, layer_norm(layer.feed_forward_norm, states_td))
    return layer_norm(block.norm, states_td)


def pyramid_block(block: PyramidBlock, states_td: Tensor, *, factor: int) -> Tensor:
    found = []
    for begin in range(0, len(states_td), factor):
        neighbours = states_td[begin : begin + factor]
        missing = states_td.new_zeros((factor - len(neighbours)) * states_td.shape[1])
        found.append(torch.tanh(linear(block.projection, torch.cat((neighbours.flatten(), missing)))))
    return torch.stack(found)


def gate(block: MultiColumn, columns: Sequence[Tensor]) -> Tensor:
    """Σ_c softmax_c(W [all columns] + b) ⊙ R_c column_c, state by state."""
    size = columns[0].shape[1]
    mixed = []
    for states in zip(*columns, strict=True):
        scores = linear(block.merge.weigh, torch.cat(states)).view(len(columns), size)
        shares = scores.exp() / scores.exp().sum(dim=0)
        resized = [linear(resize, state) for resize, state in zip(block.merge.resize, states, strict=True)]
        mixed.append(sum(share * state for share, state in zip(shares, resized, strict=True)))
    return torch.stack(mixed)


def _dot(layer: DotAttention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor) -> ScoresAndValues:
    yield states_sd @ query_d, states_sd


def _general(layer: GeneralAttention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor) -> ScoresAndValues:
    yield torch.stack([query_d @ (layer.key.weight @ state) for state in states_sd]), states_sd


def _additive(layer: AdditiveAttention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor) -> ScoresAndValues:
    sums = [layer.query.weight @ query_d + linear(layer.key, state) for state in states_sd]
    yield torch.stack([layer.score.weight[0] @ torch.tanh(total) for total in sums]), states_sd


def _coverage(layer: CoverageAttention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor) -> ScoresAndValues:
    sums = [
        layer.query.weight @ query_d + linear(layer.key, state) + layer.coverage * covered
        for state, covered in zip(states_sd, coverage_s, strict=True)
    ]
    yield torch.stack([layer.score.weight[0] @ torch.tanh(total) for total in sums]), states_sd


def _multi_head(layer: MultiHeadAttention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor) -> ScoresAndValues:
    for units in torch.arange(layer.context_dim).chunk(layer.heads):
        query, keys = layer.query.weight[units] @ query_d, states_sd @ layer.key.weight[units].T
        yield keys @ query / math.sqrt(len(units)), states_sd @ layer.value.weight[units].T


_HEADS: dict[type[Attention], Callable[..., ScoresAndValues]] = {
    DotAttention: _dot,
    GeneralAttention: _general,
    AdditiveAttention: _additive,
    CoverageAttention: _coverage,
    MultiHeadAttention: _multi_head,
}


def attend(
    layer: Attention, query_d: Tensor, states_sd: Tensor, coverage_s: Tensor, window: int | None = None
) -> tuple[Tensor, Tensor]:
    """What one query finds, (context_dim,), and its weights, (heads, S); `window` is that of a LocalAttention."""
    places = torch.arange(len(states_sd), dtype=torch.float64)
    falloff_s = torch.zeros_like(places)
    if isinstance(layer, LocalAttention) and window is not None:
        centre = (len(places) - 1) * torch.sigmoid(layer.centre.weight[0] @ torch.tanh(layer.hidden.weight @ query_d))
        falloff_s = -((places - centre) ** 2) / (2 * (window / 2) ** 2)
        layer = layer.inner
    contexts, weights = [], []
    for scores_s, values_sd in _HEADS[type(layer)](layer, query_d, states_sd, coverage_s):
        exponentials = (scores_s + falloff_s).exp()
        weights.append(exponentials / exponentials.sum())
        contexts.append(weights[-1] @ values_sd)
    return torch.cat(contexts), torch.stack(weights)


class Written(NamedTuple):
    """What a decoder gives for one target of T pieces."""

    readouts_te: Tensor
    outputs_td: Tensor
    contexts_td: Tensor
    weights_hts: Tensor
    overlaps_t: Tensor


def recurrent_decoder(
    decoder: RecurrentDecoder,
    embedded_te: Tensor,
    states_sd: Tensor,
    *,
    cell: type[Cell],
    layers: int,
    input_feeding: bool,
    window: int | None = None,
) -> Written:
    size = STATE_TENSORS[cell]
    tensors = torch.tanh(linear(decoder.bridge, states_sd.mean(dim=0))).chunk(layers * size)
    cell_states = [tensors[size * layer : size * (layer + 1)] for layer in range(layers)]
    context, coverage = embedded_te.new_zeros(decoder.context_dim), embedded_te.new_zeros(len(states_sd))
    found = []
    for embedded in embedded_te:
        value = torch.cat((embedded, context)) if input_feeding else embedded
        cell_states[0] = cell_step(decoder.layers[0], value, cell_states[0])
        output = cell_states[0][0]
        context, weights = attend(decoder.attention, output, states_sd, coverage, window)
        overlap = torch.minimum(weights.mean(dim=0), coverage).sum()
        coverage = coverage + weights.mean(dim=0)
        for layer in range(1, layers):
            cell_states[layer] = cell_step(decoder.layers[layer], torch.cat((output, context)), cell_states[layer])
            output = output + cell_states[layer][0]
        readout = torch.tanh(linear(decoder.readout, torch.cat((output, context))))
        found.append((readout, output, context, weights, overlap))
    readouts, outputs, contexts, all_weights, overlaps = map(torch.stack, zip(*found, strict=True))
    return Written(readouts, outputs, contexts, all_weights.transpose(0, 1), overlaps)


def transformer_decoder(
    decoder: TransformerDecoder, embedded_te: Tensor, states_sd: Tensor, *, heads: int, window: int | None = None
) -> Written:
    values_td, nothing = embedded_te, embedded_te.new_zeros(len(states_sd))
    for layer in decoder.layers:
        normed = layer_norm(layer.norms[0], values_td)
        values_td = values_td + self_attention(
            layer.self_attention, normed, heads=heads, sees=lambda one, other: other <= one, rotary=True
        )
        queries = layer_norm(layer.norms[1], values_td)
        found = [attend(layer.attention, query, states_sd, nothing, window) for query in queries]
        contexts, weights = map(torch.stack, zip(*found, strict=True))
        values_td = values_td + linear(layer.context, contexts)
        values_td = values_td + feed_forward(layer.feed_forward, layer_norm(layer.norms[2], values_td))
    outputs = layer_norm(decoder.norm, values_td)
    return Written(outputs, outputs, contexts, weights.transpose(0, 1), embedded_te.new_zeros(len(embedded_te)))


def vocabulary(output: VocabularyOutput, readout_e: Tensor) -> Tensor:
    """(V,) softmax(W r + b)."""
    exponentials = (output.weight @ readout_e + output.bias).exp()
    return exponentials / exponentials.sum()


def pointer(
    output: PointerOutput,
    readout_e: Tensor,
    told: tuple[Tensor, Tensor, Tensor],
    weights_s: Tensor,
    src_pieces: Sequence[int],
) -> Tensor:
    """(V,) probabilities of See et al.'s equations 8 and 9; `told` are context, decoder state and decoder input."""
    made = torch.sigmoid(linear(output.gate, torch.cat(told)))[0]
    probabilities = list(made * vocabulary(output, readout_e))
    for piece, weight in zip(src_pieces, weights_s, strict=True):
        probabilities[piece] = probabilities[piece] + (1 - made) * weight
    return torch.stack(probabilities)
