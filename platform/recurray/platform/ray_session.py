"""Being on a Ray cluster: the one in RAY_ADDRESS, or an embedded one."""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ray

from recurray.platform.errors import UserError


@contextmanager
def ray_session(cpus: int, gpus: int = 0) -> Iterator[None]:
    """A connection to the cluster in RAY_ADDRESS, or else an embedded one of at least so many CPUs, ended at the end.

    Raises UserError where the cluster has fewer CPUs or GPUs in all.
    """
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # one report costs about one interval
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        _check_resources(cpus, gpus)
        yield
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.ERROR, log_to_driver=False)
    else:  # "local", or Ray would join any cluster that it finds on this machine
        own_cpus = max(cpus, os.cpu_count() or 1)
        ray.init("local", num_cpus=own_cpus, logging_level=logging.ERROR, log_to_driver=False)
    try:
        _check_resources(cpus, gpus)
        yield
    finally:
        ray.shutdown()


def _check_resources(cpus: int, gpus: int) -> None:
    has = cluster_resources()
    if has.get("CPU", 0) < cpus or has.get("GPU", 0) < gpus:
        raise UserError(
            f"the cluster has {has.get('CPU', 0):g} CPUs and {has.get('GPU', 0):g} GPUs but {cpus} and {gpus} were "
            "asked for; lower the workers or their threads, or ask for no GPU (resources.gpu=false, or no --gpu)."
        )


cluster_resources: Callable[[], dict[str, float]] = ray.cluster_resources
"""What the cluster has in all, by name: CPU, GPU, memory in bytes."""
