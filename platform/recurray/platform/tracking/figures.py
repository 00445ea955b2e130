"""The figures that a run logs, as people look at them: the report and the W&B workspace draw the same plots."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """Some logged figures over the steps, on one pair of axes."""

    title: str
    unit: str
    """Of the vertical axis."""
    keys: tuple[str, ...]
    """Names of the figures in `metrics.jsonl` and in W&B."""


QUALITY = "Quality on dev"

SECTIONS: dict[str, tuple[Plot, ...]] = {
    "Loss": (
        Plot("Loss", "nats per target piece", ("loss", "dev/loss")),
        Plot("Perplexity on dev", "e^(nats per target piece)", ("dev/perplexity",)),
    ),
    QUALITY: (
        Plot("BLEU, greedy", "0 to 100", ("dev/bleu",)),
        Plot("chrF, greedy", "0 to 100", ("dev/chrf",)),
        Plot("ROUGE, greedy", "0 to 100", ("dev/rouge1", "dev/rouge2", "dev/rougeL")),
    ),
    "Optimization": (
        Plot("Learning rate", "per update", ("learning_rate",)),
        Plot("Gradient norm before clipping", "norm of the mean gradient", ("grad_norm",)),
        Plot("Skipped updates", "count so far", ("skipped_steps",)),
        Plot("Loss spikes", "1 where the loss lies far above the recent ones", ("loss_spike",)),
    ),
    "Speed": (
        Plot("Throughput", "target pieces a second", ("tokens_per_second",)),
        Plot("Padding", "share of positions", ("padding_share",)),
        Plot("Waiting for data, validating", "share of the time", ("data_wait_share", "validation_share")),
    ),
}
"""The plots of a run, by section."""


def dev_scores(figures: Iterable[str]) -> list[str]:
    """Names of the scores among the figures of a validation, without `dev/`."""
    names = (figure.removeprefix("dev/") for figure in figures if figure.startswith("dev/"))
    return [name for name in names if name not in ("loss", "perplexity")]


def sections_of(figures: Collection[str]) -> dict[str, tuple[Plot, ...]]:
    """The plots that a run with these figures has something to show in, scores of other tasks among them."""
    planned = {key for plots in SECTIONS.values() for plot in plots for key in plot.keys}
    others = [Plot(name, "score", (f"dev/{name}",)) for name in dev_scores(figures) if f"dev/{name}" not in planned]
    sections = SECTIONS | {QUALITY: (*SECTIONS[QUALITY], *others)}
    return {
        name: tuple(plot for plot in plots if any(key in figures for key in plot.keys))
        for name, plots in sections.items()
    }
