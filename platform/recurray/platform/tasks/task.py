"""What a task is: all that the engine asks about what is learned.

The engine (plan, dealing, feed, step, checkpoints, log) works on examples of two sequences, source and target, and on
a network that turns a batch of them into loss sums. What the sequences are made of, which network reads them, how a
result is found and how it is scored is the task's to say. Records are texts at the edges: a pair of texts goes in, a
text comes out.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar, Protocol

import pyarrow as pa
from torch import nn

from recurray.models import Padded
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import Pair

Sequences = tuple[Sequence[object], Sequence[object]]
"""A source and a target: numbers, or vectors of one size, one a position."""


class Codec(Protocol):
    """Turns pairs of texts into sequences; made from the training data, kept with the data and with the model."""

    src_type: pa.DataType
    """Of one position of a source, such as `pa.int32()` for a piece or `pa.list_(pa.float32(), 80)` for a frame."""
    tgt_type: pa.DataType
    """Of one position of a target."""

    def encode(self, pairs: Sequence[Pair], threads: int) -> Iterable[Sequences]:
        """The sequences of each pair, neither of them empty."""

    def save(self, folder: Path) -> None:
        """Writes what `Task.load_codec` reads."""


class Task(ABC):
    """A kind of learning.

    Its network is called as `network(src, tgt, key, label_smoothing)` with `Padded` batches, a `DropoutKey` or none,
    and gives `LossSums` over the targets' positions; padding must change nothing.
    """

    best_figure: ClassVar[str]
    """The figure of a validation by which the best model is kept, such as `dev/bleu`; the greater the better."""
    dev_metrics: ClassVar[tuple[str, ...]]
    """Scores of a validation, by their names in `METRICS`; a validation logs each as `dev/NAME`."""
    has_perplexity: ClassVar[bool] = True
    """Whether its loss is a negative log-likelihood in nats, of which a perplexity can be made."""

    def describe(self, config: RunConfig) -> str:
        """A sentence for the model card about what its sequences are made of; none where there is nothing to say."""
        return ""

    @abstractmethod
    def make_codec(self, pairs: Iterable[Pair], config: RunConfig) -> Codec:
        """A codec for these training pairs; UserError where they do not suffice."""

    @abstractmethod
    def load_codec(self, folder: Path) -> Codec:
        """The codec that `Codec.save` wrote there; UserError that names the file where it is missing or damaged."""

    @abstractmethod
    def check(self, config: ModelConfig) -> None:
        """UserError, before any work, where a network of this shape cannot be built."""

    @abstractmethod
    def build_network(self, config: ModelConfig, codec: Codec) -> nn.Module:
        """A network with new weights from PyTorch's global generator.

        UserError, or ValueError with a reason that ends no sentence, where its shape is impossible.
        """

    @abstractmethod
    def predict(self, network: nn.Module, codec: Codec, src: Padded, search: SearchConfig) -> list[str]:
        """The result for each source, as a text; it must not depend on the sources beside it."""
