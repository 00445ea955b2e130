"""What is searched, how, and what is found."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """Targets drawn from the model instead of the best ones: a piece at a time, from what its options leave."""

    seed: int
    """What is drawn is a function of this, the source, the number of the sample, the position and the model."""
    temperature: float = 1.0
    """Scores are divided by it before the softmax; below 1 likely pieces become likelier."""
    top_k: int | None = None
    """Only this many of the likeliest pieces, if set (Fan et al. 2018)."""
    top_p: float | None = None
    """Only the fewest pieces that have this share of the probability together, if set (Holtzman et al. 2020)."""


@dataclass(frozen=True)
class SearchOptions:
    """How targets are searched."""

    beam_size: int = 5
    """Hypotheses kept a source; 1 is greedy. Sampling keeps `n_best`, which do not compete."""
    n_best: int = 1
    """Targets given a source, the best first; at most `beam_size`."""
    length_penalty: float = 1.0
    """α of Wu et al. 2016, equation 14."""
    coverage_penalty: float = 0.0
    """β of the same: what source positions cost that the attention passed over."""
    no_repeat_ngram: int = 0
    """No sequence of this many pieces comes twice in a target; 0 for no such rule."""
    forbidden: tuple[int, ...] = ()
    """Pieces that never come."""
    alignments: bool = False
    """Whether the source position that each piece attends to most is kept."""
    sampling: Sampling | None = None
    """Draw instead of keeping the best, if set."""

    @property
    def hypotheses(self) -> int:
        """Hypotheses kept a source."""
        return self.n_best if self.sampling else self.beam_size


@dataclass(frozen=True)
class Room:
    """How much is searched at once: as many sources as have room in both ways, or one."""

    hypotheses: int = 512
    """Of all sources together: products of fewer rows make less of the processor."""
    pieces: int = 8192
    """Padded source pieces, whose encoder states are in memory."""

    def has(self, sources: int, longest: int, options: SearchOptions) -> bool:
        """Whether so many sources, the longest of so many pieces, have room in it."""
        return sources * options.hypotheses <= self.hypotheses and sources * longest <= self.pieces


@dataclass(frozen=True)
class Source:
    """A source with what holds for its own targets; lengths are in pieces with EOS."""

    pieces: Sequence[int]
    """Ends in EOS."""
    max_length: int
    """At least 1."""
    min_length: int = 0
    """At most `max_length`."""
    prefix: Sequence[int] = ()
    """What each target begins with, at the most `max_length` - 1 of it; no other rule holds for it."""
    forced: Sequence[int] = ()
    """Pieces that each target holds, in any order; none is given twice, and `beam_size` is greater than their number.
    Not for sampling."""


@dataclass(frozen=True)
class Hypothesis:
    """One found target."""

    pieces: list[int]
    """Piece numbers, without BOS and EOS."""
    score: float
    """Log-probability / ((5 + n) / 6)^α + coverage penalty; -inf where the options left no target."""
    log_probs: list[float]
    """The log-probability of each piece, and last that of EOS."""
    places: list[int] | None = None
    """For each piece and EOS the position of the encoder state that it attended to most, if asked for."""
