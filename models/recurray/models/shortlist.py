"""A model cut to a shortlist: its target side knows few pieces of the vocabulary, and numbers them anew."""

from torch import Tensor, nn

from recurray.models.output import VocabularyOutput
from recurray.models.pointer import PointerOutput
from recurray.models.seq2seq import Embedding, Seq2Seq


def cut_targets(model: Seq2Seq, pieces_l: Tensor) -> None:
    """Leaves a model's targets the pieces `pieces_l` (L,) int64, whose numbers are then 0 to L - 1; for search alone.

    What the softmax gave to the others is shared out among these. ValueError for a pointer, which copies pieces of the
    source by their numbers.
    """
    if isinstance(model.output, PointerOutput):
        raise ValueError("it copies pieces of its source, whatever they are")
    own = model.tgt_embedding
    embedding = Embedding(len(pieces_l), own.embedding_dim)
    embedding.weight = nn.Parameter(own.weight.detach()[pieces_l])
    tied = model.output.weight is own.weight
    output = VocabularyOutput(embedding.weight if tied else nn.Parameter(model.output.weight.detach()[pieces_l]))
    output.bias = nn.Parameter(model.output.bias.detach()[pieces_l])
    model.tgt_embedding, model.output = embedding, output
