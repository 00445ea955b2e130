"""Kills of a training at random moments, seeded: whether anything shows, and what each costs in time.

Each kill is one training of 80 steps of the tests' small recipe: a worker, everything, the workers while a checkpoint
is written, or a node of two; the time lost is the longest after the kill in which no step was logged.

    python -m tests.benchmarks.kills [KILLS] [SEED]
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.conftest import TINY_RECIPE
from tests.faults.kills import finish, killed_training, largest_difference, seeded_kills, start


def main(count: int, seed: int) -> None:
    """Prints a line for each kill, and what they have in common."""
    with tempfile.TemporaryDirectory(prefix="recurray-kills-") as place:
        folder = Path(place)
        recipe = folder / "tiny.yaml"
        recipe.write_text(TINY_RECIPE)
        finish(start(recipe, "unbroken", folder))
        lost, differences = [], []
        for index, kill in enumerate(seeded_kills(count, seed), 1):
            lost.append(killed_training(recipe, folder, f"kill-{index}", kill))
            differences.append(largest_difference(folder / "runs" / f"kill-{index}", folder / "runs" / "unbroken"))
            print(
                f"{index:3}  {kill.kind:30} at step {kill.step:3}: {lost[-1]:5.1f} s lost, largest relative difference "
                f"of a loss {differences[-1]:.1e}",
                flush=True,
            )
    print(
        f"{count} of {count} finished, every step logged once; largest difference {max(differences):.1e}; "
        f"seconds lost: median {statistics.median(lost):.1f}, longest {max(lost):.1f}"
    )


if __name__ == "__main__":
    main(*(int(word) for word in (*sys.argv[1:], *("30", "1")[len(sys.argv) - 1 :])))
