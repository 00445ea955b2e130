"""Forecasting with a worker that is killed at its first validation, and with a network that cannot be built."""

import os
import signal
from pathlib import Path

from forecasting import Forecaster, Forecasting
from torch import nn

from recurray.models import Padded
from recurray.platform.config.model import ModelConfig
from recurray.platform.config.search import SearchConfig
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tasks.task import Codec

DIED = Path(__file__).with_name("died")


@TASKS.register("dies_once")
class DiesOnce(Forecasting):
    def predict(self, network: nn.Module, codec: Codec, src: Padded, search: SearchConfig) -> list[str]:
        if not DIED.exists():
            DIED.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(network, codec, src, search)


@TASKS.register("fits_nothing")
class FitsNothing(Forecasting):
    def build_network(self, config: ModelConfig, codec: Codec) -> Forecaster:
        raise ValueError("a round network needs a round codec")
