"""Translation whose network has so much memory and no more, from one of its passes in a training on."""

import re
import resource
from pathlib import Path
from typing import Any

from torch import nn

from recurray.platform.config.model import ModelConfig
from recurray.platform.tasks.registry import TASKS
from recurray.platform.tasks.task import Codec
from recurray.platform.tasks.translation import Translation

PASS = 3
"""The pass before which the limit is set."""
MIB = 96
"""What may be allocated beyond what the process has by then."""


@TASKS.register("cramped")
class Cramped(Translation):
    def build_network(self, config: ModelConfig, codec: Codec) -> nn.Module:
        network = super().build_network(config, codec)
        passes = 0

        def cramp(module: nn.Module, inputs: Any) -> None:
            nonlocal passes
            passes += 1
            if passes == PASS:
                found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
                assert found is not None
                limit = int(found[1]) * 1024 + MIB * 2**20
                resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

        network.register_forward_pre_hook(cramp)
        return network
