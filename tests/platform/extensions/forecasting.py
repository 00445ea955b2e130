"""Forecasting, as an extension: the first numbers of a series, such as `0.1 0.4 0.9`, to the next, `1.6 2.5`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa
from torch import Tensor, nn

from recurray.models import DropoutKey, LossSums, Padded
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.errors import UserError
from recurray.platform.evaluation.scores import TASK_METRICS
from recurray.platform.network import build_encoder
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tasks.task import Codec, Sequences, Task


class NumberCodec:
    """Texts of numbers as vectors of one float."""

    src_type = tgt_type = pa.list_(pa.float32(), 1)

    def __init__(self, horizon: int) -> None:
        self.horizon = horizon

    def encode(self, pairs: Sequence[Pair], threads: int) -> Iterable[Sequences]:
        for pair in pairs:
            if len(numbers(pair.tgt)) > self.horizon:
                raise UserError(f"the target `{pair.tgt}` is longer than any in training; cut it to {self.horizon}.")
            yield [[number] for number in numbers(pair.src)], [[number] for number in numbers(pair.tgt)]

    def save(self, folder: Path) -> None:
        (folder / "horizon.txt").write_text(str(self.horizon))


class Forecaster(nn.Module):
    """The next numbers, all at once, from the mean of an encoder's states."""

    def __init__(self, config: ModelConfig, horizon: int) -> None:
        super().__init__()
        self.inputs = nn.Linear(1, config.embedding_dim)
        self.encoder = build_encoder(config.encoder, config.embedding_dim, config.dropout)
        self.readout = nn.Linear(self.encoder.output_dim, horizon)

    def forward(
        self, src: Padded, tgt: Padded, key: DropoutKey | None = None, label_smoothing: float = 0.0
    ) -> LossSums:
        """Squared errors."""
        errors_bt = self.forecast(src, key)[:, : tgt.values.shape[1]] - tgt.values[..., 0]
        squares = errors_bt[tgt.mask_bt].square().sum()
        return LossSums(squares, squares.detach())

    def forecast(self, src: Padded, key: DropoutKey | None = None) -> Tensor:
        """(B, horizon)."""
        states = self.encoder(src.with_values(self.inputs(src.values)), key)
        forecast_bt: Tensor = self.readout(states.mean())
        return forecast_bt


@TASKS.register("forecasting")
class Forecasting(Task):
    best_figure = "dev/r2"
    dev_metrics = ("r2",)
    has_perplexity = False

    def make_codec(self, pairs: Iterable[Pair], config: RunConfig) -> NumberCodec:
        return NumberCodec(max((len(numbers(pair.tgt)) for pair in pairs), default=1))

    def load_codec(self, folder: Path) -> NumberCodec:
        path = folder / "horizon.txt"
        try:
            return NumberCodec(int(path.read_text()))
        except (OSError, ValueError):
            raise UserError(f"{path} is missing or damaged; train the model again.") from None

    def check(self, config: ModelConfig) -> None:
        Forecaster(config, horizon=1)

    def build_network(self, config: ModelConfig, codec: Codec) -> Forecaster:
        assert isinstance(codec, NumberCodec)
        return Forecaster(config, codec.horizon)

    def predict(self, network: nn.Module, codec: Codec, src: Padded, search: SearchConfig) -> list[str]:
        assert isinstance(network, Forecaster)
        return [" ".join(f"{number:.3f}" for number in row) for row in network.forecast(src).tolist()]


TASK_METRICS["forecasting"] = ("r2",)


def numbers(text: str) -> list[float]:
    """UserError for anything else."""
    try:
        return [float(word) for word in text.split()]
    except ValueError:
        raise UserError(f"`{text}` is no series of numbers; write them with spaces between.") from None
