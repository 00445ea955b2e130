"""Processor time of a training, by what its processes are."""

import os
from collections import Counter
from pathlib import Path

PROCESSES = {"RayTrainWorker": "workers", "TrainController": "controller", "RunLog": "log", "gcs_server": "gcs"}


def processor_seconds(root: int) -> Counter[str]:
    """Of a process and all that came of it, by what they are."""
    found: Counter[str] = Counter()
    ticks = os.sysconf("SC_CLK_TCK")
    children: dict[int, list[int]] = {}
    used: dict[int, tuple[str, float]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended
            continue
        kind = next((kind for word, kind in PROCESSES.items() if word in command), "Ray's other processes")
        used[int(folder.name)] = kind, (int(fields[11]) + int(fields[12])) / ticks
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    waiting = [root]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        kind, seconds = used.get(process, ("", 0.0))
        found["the command" if process == root else kind] += seconds
    return found
