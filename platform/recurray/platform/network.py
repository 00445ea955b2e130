"""From a configuration to a network."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from recurray.models import Seq2Seq
from recurray.models.attention.additive import CoverageAttention
from recurray.models.attention.attention import Attention
from recurray.models.attention.local import LocalAttention
from recurray.models.blocks.block import Block
from recurray.models.blocks.recurrent import RecurrentBlock
from recurray.models.decoders.decoder import Decoder
from recurray.models.encoder import Cascade, MultiColumn
from recurray.models.output import VocabularyOutput
from recurray.models.pointer import PointerOutput
from recurray.models.registry import ATTENTIONS, BLOCKS, CELLS, DECODERS
from recurray.models.seq2seq import Embedding
from recurray.platform.config.model import (
    AttentionConfig,
    BlockConfig,
    ColumnsBlockConfig,
    ModelConfig,
    PointerConfig,
    RecurrentBlockConfig,
    RecurrentDecoderConfig,
)
from recurray.platform.errors import UserError


def build_seq2seq(config: ModelConfig, vocab_size: int) -> Seq2Seq:
    """A network with new weights, made from PyTorch's global generator.

    Raises UserError where the parts of the shape do not go together.
    """
    try:
        return _build(config, vocab_size)
    except ValueError as misfit:
        raise UserError(f"model: {misfit}.") from None


def check_model(config: ModelConfig) -> None:
    """UserError where the parts of the shape do not go together, found out without a weight in memory."""
    with torch.device("meta"):
        build_seq2seq(config, vocab_size=8)


def build_encoder(blocks: Sequence[BlockConfig], input_dim: int, dropout: float, place: str = "encoder") -> Cascade:
    """An encoder of these blocks; ValueError where one cannot stand on the other."""
    built: list[Block] = []
    for index, block in enumerate(blocks):
        built.append(_build_block(block, input_dim, dropout, f"{place}.{index}"))
        input_dim = built[-1].output_dim
    return Cascade(built)


def _build(config: ModelConfig, vocab_size: int) -> Seq2Seq:
    src_embedding = Embedding(vocab_size, config.embedding_dim)
    tgt_embedding = src_embedding if config.tie_embeddings else Embedding(vocab_size, config.embedding_dim)
    encoder = build_encoder(config.encoder, config.embedding_dim, config.dropout)
    if config.pointer is not None:
        _check_pointer(config.pointer, config, encoder)
    decoder = _build_decoder(config, encoder.output_dim)
    tied: Tensor = tgt_embedding.weight
    weight = tied if config.tie_embeddings else nn.Parameter(tied.detach().clone())
    return Seq2Seq(src_embedding, tgt_embedding, encoder, decoder, _build_output(config, decoder, weight))


def _build_block(config: BlockConfig, input_dim: int, dropout: float, place: str) -> Block:
    if isinstance(config, ColumnsBlockConfig):
        columns = [
            build_encoder(column, input_dim, dropout, f"{place}.{index}") for index, column in enumerate(config.columns)
        ]
        return MultiColumn(columns, config.merge)
    options = config.model_dump(exclude={"kind"})
    if isinstance(config, RecurrentBlockConfig):
        return RecurrentBlock(input_dim, cell=CELLS[config.kind], dropout=dropout, place=place, **options)
    return BLOCKS[config.kind](input_dim, dropout=dropout, place=place, **options)


def _build_decoder(config: ModelConfig, memory_dim: int) -> Decoder:
    options = config.decoder.model_dump(exclude={"kind"})
    if isinstance(config.decoder, RecurrentDecoderConfig):
        options["cell"] = CELLS[config.decoder.cell]
    covers = config.pointer is not None and config.pointer.coverage
    attention = partial(_build_attention, config.attention, memory_dim=memory_dim, covers=covers)
    build = DECODERS[config.decoder.kind]
    return build(config.embedding_dim, memory_dim, attention=attention, dropout=config.dropout, **options)


def _build_attention(config: AttentionConfig, query_dim: int, *, memory_dim: int, covers: bool) -> Attention:
    build = CoverageAttention if covers else ATTENTIONS[config.kind]
    attention = build(query_dim, memory_dim, config.dim or query_dim, config.heads)
    return attention if config.window is None else LocalAttention(attention, query_dim, config.window)


def _build_output(config: ModelConfig, decoder: Decoder, weight: Tensor) -> VocabularyOutput:
    if config.pointer is None:
        return VocabularyOutput(weight)
    return PointerOutput(
        weight,
        context_dim=decoder.context_dim,
        decoder_dim=decoder.output_dim,
        input_dim=config.embedding_dim,
        coverage_weight=config.pointer.coverage_weight,
    )


def _check_pointer(pointer: PointerConfig, config: ModelConfig, encoder: Block) -> None:
    if encoder.factor > 1:
        raise ValueError("a pointer needs a state for each source piece, which a pyramid block does not keep")
    attention, decoder = config.attention, config.decoder
    if pointer.coverage and (attention.kind != "additive" or attention.window or decoder.kind != "recurrent"):
        raise ValueError(
            "pointer.coverage needs attention.kind additive without a window and decoder.kind recurrent; set these, or "
            "pointer.coverage=false"
        )
