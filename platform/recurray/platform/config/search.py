"""How results are searched: the keys under `search`, and the options of `translate` and `summarize`."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from recurray.platform.config.section import PositiveInt, Section


class SamplingConfig(Section):
    """Results drawn from the model, a piece at a time. A text's samples do not depend on the texts beside it."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 1
    """What is drawn is a function of this, the text, the number of the sample and the model."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Scores are divided by it before the softmax: below 1 likely pieces become likelier."""
    top_k: PositiveInt | None = None
    """Only this many of the likeliest pieces, if set."""
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    """Only the fewest pieces that have this share of the probability together, if set."""


class SearchConfig(Section):
    """How results are searched, unless the command says otherwise. Lengths are in pieces with the one that ends."""

    beam_size: PositiveInt = 5
    """Hypotheses kept a text; 1 is greedy."""
    n_best: PositiveInt = 1
    """Results given a text, the best first; at most `beam_size`, unless they are drawn."""
    length_penalty: Annotated[float, Field(ge=0)] = 1.0
    """GNMT's α: 0 prefers short hypotheses, 1 is about neutral."""
    coverage_penalty: Annotated[float, Field(ge=0)] = 0.0
    """GNMT's β: what a hypothesis loses for source positions that its attention passed over; 0.2 is usual."""
    min_length: Annotated[int, Field(ge=0)] = 0
    """A hypothesis has at least this many pieces."""
    min_length_factor: Annotated[float, Field(ge=0)] = 0.0
    """And at least this many times the source's pieces."""
    max_length_factor: Annotated[float, Field(gt=0)] = 2.0
    """A hypothesis has at most this many times the source's pieces, and 10 more."""
    max_length: PositiveInt | None = None
    """And at most this many pieces, whatever its source, if set; where the fewest are more, these go before."""
    no_repeat_ngram: Annotated[int, Field(ge=0)] = 0
    """No sequence of this many pieces comes twice in a result; 0 for no such rule."""
    forbidden: tuple[str, ...] = ()
    """Pieces that never come, as the vocabulary spells them: a word's first piece begins with `▁`."""
    forced: tuple[str, ...] = ()
    """Pieces that each result holds, in any order; fewer than `beam_size`."""
    alignments: bool = False
    """Whether it is kept which source piece each result's piece attends to most."""
    sampling: SamplingConfig | None = None
    """Draw results instead of keeping the best, if set."""

    @model_validator(mode="after")
    def _has_as_many(self) -> Self:
        if self.n_best > self.beam_size and not self.sampling:
            raise PydanticCustomError(
                "n_best", "n_best is at most beam_size, which is {size}", {"size": self.beam_size}
            )
        return self

    @model_validator(mode="after")
    def _can_force(self) -> Self:
        if self.forced and (self.sampling or len(self.forced) >= self.beam_size):
            raise PydanticCustomError(
                "forced",
                "forced pieces ({count}) are searched, not drawn, and must be fewer than beam_size, which is {size}",
                {"count": len(self.forced), "size": self.beam_size},
            )
        for place, piece in enumerate(self.forced):
            if piece in (*self.forbidden, *self.forced[:place]):
                raise PydanticCustomError(
                    "forced_twice", "`{piece}` is forced, and forbidden or forced once more", {"piece": piece}
                )
        return self

    def greedy(self) -> "SearchConfig":
        """The same with a beam of one and one result, and nothing forced."""
        alone = {"beam_size": 1, "n_best": 1, "forced": (), "alignments": False, "sampling": None}
        return self.model_copy(update=alone)
