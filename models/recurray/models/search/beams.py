"""The hypotheses of a search: those that go on, and those that are finished."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from recurray.models.padded import cat_padded
from recurray.models.pieces import BOS, EOS, PAD
from recurray.models.search.options import Hypothesis, SearchOptions, Source

NEVER = float("-inf")


@dataclass(frozen=True)
class History:
    """What is known of hypotheses piece by piece; place 0 is BOS, and what stands behind their ends has no meaning."""

    pieces_bkt: Tensor
    log_probs_bkt: Tensor
    places_bkt: Tensor

    @classmethod
    def begin(cls, sources: int, hypotheses: int, length: int, device: torch.device) -> "History":
        """BOS, with room for `length` pieces behind it."""
        pieces_bkt = torch.zeros(sources, hypotheses, length + 1, dtype=torch.int64, device=device)
        pieces_bkt[:, :, 0] = BOS
        return cls(pieces_bkt, torch.zeros(pieces_bkt.shape, device=device), torch.zeros_like(pieces_bkt))

    def each(self, change: Callable[[Tensor], Tensor]) -> "History":
        """The same change made to each."""
        return History(change(self.pieces_bkt), change(self.log_probs_bkt), change(self.places_bkt))

    def replaced(self, where_bk: Tensor, other: "History") -> "History":
        """Those hypotheses of the other where it says so."""
        where_bk1 = where_bk[:, :, None]
        return History(
            torch.where(where_bk1, other.pieces_bkt, self.pieces_bkt),
            torch.where(where_bk1, other.log_probs_bkt, self.log_probs_bkt),
            torch.where(where_bk1, other.places_bkt, self.places_bkt),
        )

    def take(self, hypotheses_bk: Tensor) -> "History":
        """For each source these hypotheses of its own, as a copy."""
        return self.each(lambda part: take_hypotheses(part, hypotheses_bk))

    def write(self, position_b: Tensor, pieces_bk: Tensor, log_probs_bk: Tensor, places_bk: Tensor) -> None:
        """Puts in a piece, at a position of each source's own."""
        index_bk1 = position_b[:, None, None].expand(-1, pieces_bk.shape[1], 1)
        self.pieces_bkt.scatter_(2, index_bk1, pieces_bk[:, :, None])
        self.log_probs_bkt.scatter_(2, index_bk1, log_probs_bk[:, :, None].to(self.log_probs_bkt.dtype))
        self.places_bkt.scatter_(2, index_bk1, places_bk[:, :, None])

    @classmethod
    def join(cls, parts: "Sequence[History]", dim: int) -> "History":
        """Several as one, along sources (0) or hypotheses (1)."""
        return cls(
            cat_padded([part.pieces_bkt for part in parts], dim),
            cat_padded([part.log_probs_bkt for part in parts], dim),
            cat_padded([part.places_bkt for part in parts], dim),
        )


@dataclass
class Beams:
    """The hypotheses of B sources, K each; the lengths of a source's live ones are the same."""

    numbers_b: Tensor
    """The number of each source."""
    hashes_b: Tensor
    """A hash of each source's pieces, 32 bits in int64."""
    max_lengths_b: Tensor
    min_lengths_b: Tensor
    prefixes_bp: Tensor
    """What targets begin with, PAD behind it."""
    forced_bf: Tensor
    """Pieces that targets hold, PAD behind them."""
    lengths_b: Tensor
    """Pieces of the live hypotheses so far."""
    live: History
    scores_bk: Tensor
    """Log-probabilities of the live ones; -inf for a place without one."""
    states_b: Tensor
    """Encoder states of each source."""
    covered_bks: Tensor
    """The sum of each encoder state's attention weights so far; without states where there is no such penalty."""
    done: History
    done_scores_bk: Tensor
    """As `Hypothesis.score`, -inf for a place without one."""

    @classmethod
    def begin(
        cls,
        numbers: Sequence[int],
        sources: Sequence[Source],
        options: SearchOptions,
        states_b: Tensor,
    ) -> "Beams":
        """Of some sources, with (B,) int64 encoder states each, before their first piece."""
        device = states_b.device
        longest, hypotheses = max(source.max_length for source in sources), options.hypotheses
        scores_bk = torch.full((len(sources), hypotheses), NEVER, device=device)
        # In a beam the others would be copies of the first, and must not be extended too.
        scores_bk[:, : hypotheses if options.sampling else 1] = 0.0
        history = History.begin(len(sources), hypotheses, longest, device)
        return cls(
            numbers_b=torch.tensor(numbers, device=device),
            hashes_b=torch.tensor([source_hash(source.pieces) for source in sources], device=device),
            max_lengths_b=torch.tensor([source.max_length for source in sources], device=device),
            min_lengths_b=torch.tensor([source.min_length for source in sources], device=device),
            prefixes_bp=_padded([source.prefix[: source.max_length - 1] for source in sources], device),
            forced_bf=_padded([source.forced for source in sources], device),
            lengths_b=torch.zeros(len(sources), dtype=torch.int64, device=device),
            live=history,
            scores_bk=scores_bk,
            states_b=states_b,
            covered_bks=torch.zeros(
                *scores_bk.shape, int(states_b.max()) if options.coverage_penalty else 0, device=device
            ),
            done=history.each(torch.clone),
            done_scores_bk=torch.full_like(scores_bk, NEVER),
        )

    @property
    def last_bk(self) -> Tensor:
        """The last piece of each live hypothesis."""
        index_bk1 = self.lengths_b[:, None, None].expand(-1, self.scores_bk.shape[1], 1)
        return self.live.pieces_bkt.gather(2, index_bk1)[:, :, 0]

    @property
    def missing_bkf(self) -> Tensor:
        """Which of the forced pieces each live hypothesis does not hold yet."""
        written_bt = (
            torch.arange(self.live.pieces_bkt.shape[2], device=self.lengths_b.device) <= self.lengths_b[:, None]
        )
        pieces_bkt = self.live.pieces_bkt.masked_fill(~written_bt[:, None], PAD)
        held_bkf = (pieces_bkt[:, :, None] == self.forced_bf[:, None, :, None]).any(dim=-1)
        return ~held_bkf & (self.forced_bf != PAD)[:, None]

    def select(self, rows: Tensor) -> "Beams":
        """The sources `rows`, (B',) int64."""

        def chosen(part: Tensor | History) -> Any:
            return part.each(chosen) if isinstance(part, History) else part.index_select(0, rows)

        return Beams(**{field.name: chosen(getattr(self, field.name)) for field in fields(self)})

    @classmethod
    def join(cls, parts: "Sequence[Beams]") -> "Beams":
        """The sources of several, one after the other."""

        def joined(column: Sequence[Any]) -> Any:
            return History.join(column, 0) if isinstance(column[0], History) else cat_padded(column)

        return cls(**{field.name: joined([getattr(part, field.name) for part in parts]) for field in fields(cls)})

    def best(self, row: int, count: int, with_places: bool) -> list[Hypothesis]:
        """The finished hypotheses of a source, the best first; one without pieces where there is none."""
        order = self.done_scores_bk[row].argsort(descending=True, stable=True)[:count].tolist()
        scores = self.done_scores_bk[row].tolist()
        found = [self._finished(row, place, scores[place], with_places) for place in order if scores[place] > NEVER]
        return found or [Hypothesis([], NEVER, [NEVER], [0] if with_places else None)]

    def _finished(self, row: int, place: int, score: float, with_places: bool) -> Hypothesis:
        pieces = self.done.pieces_bkt[row, place, 1:].tolist()
        end = pieces.index(EOS)
        log_probs = self.done.log_probs_bkt[row, place, 1 : end + 2].tolist()
        places = self.done.places_bkt[row, place, 1 : end + 2].tolist() if with_places else None
        return Hypothesis(pieces[:end], score, log_probs, places)


def take_hypotheses(values_bkt: Tensor, hypotheses_bk: Tensor) -> Tensor:
    """For each source the values of these hypotheses of its own, as a copy."""
    return values_bkt.gather(1, hypotheses_bk[:, :, None].expand(-1, -1, values_bkt.shape[2]))


def source_hash(pieces: Sequence[int]) -> int:
    """32 bits that depend on every piece and its place."""
    bits = torch.tensor(pieces, dtype=torch.int32).numpy().tobytes()
    return zlib.crc32(bits)


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    parts = [torch.tensor(row, dtype=torch.int64)[None] for row in rows]
    return cat_padded(parts).to(device)
