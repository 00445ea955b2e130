"""A worker's memory from one update to the next."""

import subprocess
import sys

_PAGES_TAKEN_ANEW = """
import resource, torch
from recurray.platform.freed_memory import keep_freed_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

if {kept}:
    keep_freed_memory()
[torch.ones(2**24) for _ in range(4)]
before = faults()
for _ in range(10):
    [torch.ones(2**24) for _ in range(4)]
print(faults() - before)
"""
"""Ten times 4 tensors of 64 MiB are taken and freed."""


def pages_taken_anew(*, kept: bool) -> int:
    command = [sys.executable, "-c", _PAGES_TAKEN_ANEW.format(kept=kept)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def test_a_worker_does_not_take_the_memory_of_every_update_from_the_system_anew() -> None:
    assert pages_taken_anew(kept=False) > 3 * pages_taken_anew(kept=True)
