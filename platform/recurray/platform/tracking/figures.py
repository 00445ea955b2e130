"""The figures that a run logs, as people look at them: the report and the W&B workspace draw the same plots."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Plot:
    """Some logged figures over the steps, on one pair of axes."""

    title: str
    unit: str
    """Of the vertical axis."""
    keys: tuple[str, ...]
    """Names of the figures in `metrics.jsonl` and in W&B."""


SECTIONS: dict[str, tuple[Plot, ...]] = {
    "Loss": (
        Plot("Loss", "nats per target piece", ("loss", "dev/loss")),
        Plot("Perplexity on dev", "e^(nats per target piece)", ("dev/perplexity",)),
    ),
    "Quality on dev": (
        Plot("BLEU, greedy", "0 to 100", ("dev/bleu",)),
        Plot("chrF, greedy", "0 to 100", ("dev/chrf",)),
    ),
    "Optimization": (
        Plot("Learning rate", "per update", ("learning_rate",)),
        Plot("Gradient norm before clipping", "norm of the mean gradient", ("grad_norm",)),
        Plot("Skipped updates", "count so far", ("skipped_steps",)),
    ),
    "Speed": (
        Plot("Throughput", "target pieces a second", ("tokens_per_second",)),
        Plot("Padding and waiting for data", "share", ("padding_share", "data_wait_share")),
    ),
}
"""The plots of a run, by section."""
