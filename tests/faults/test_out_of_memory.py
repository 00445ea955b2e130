"""Promise 2 where memory runs out: micro-batches are halved, and the curve is that of a run with memory to spare."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from tests.faults.kills import DEADLINE_SECONDS, finish, rows, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

STEPS = 12
LARGE = [
    "training.batch_tokens=12000",
    "resources.micro_batch_tokens=100000",
    "resources.workers=1",
    "model.embedding_dim=64",
    "model.decoder.hidden_dim=128",
]


def test_a_worker_that_runs_out_of_memory_halves_its_micro_batches_and_keeps_the_curve(
    tiny_recipe: Path, tmp_path: Path
) -> None:
    shutil.copy(Path(__file__).parent / "extensions" / "cramped.py", tmp_path)
    finish(start(tiny_recipe, "roomy", tmp_path, *LARGE, steps=STEPS))
    output = finish(
        start(tiny_recipe, "cramped", tmp_path, *LARGE, "extensions=[cramped]", "task=cramped", steps=STEPS)
    )
    roomy, cramped = rows(tmp_path / "runs" / "roomy"), rows(tmp_path / "runs" / "cramped")
    halvings = [row["memory_halvings"] for row in cramped]
    print(f"halvings by step: {halvings}")
    assert not any(halvings[:2])
    assert sum(halvings) > 0
    assert halvings[-1] == 0  # what was learned is kept
    assert "out of memory; micro-batches halved" in output
    assert not any(row["memory_halvings"] for row in roomy)
    assert [row["loss"] for row in cramped] == pytest.approx([row["loss"] for row in roomy], rel=1e-4)
    assert cramped[2]["loss"] == pytest.approx(roomy[2]["loss"], rel=1e-6)


def test_an_example_too_large_for_memory_is_named(tiny_recipe: Path, tmp_path: Path) -> None:
    extension = (Path(__file__).parent / "extensions" / "cramped.py").read_text().replace("PASS = 3", "PASS = 1")
    (tmp_path / "cramped.py").write_text(extension)
    recipe = yaml.safe_load(tiny_recipe.read_text())
    for side, long in (("src", "device " * 60_000), ("tgt", "Gerät")):
        lines = Path(recipe["data"]["train"][0][side]).read_text().splitlines()[:200]
        (tmp_path / side).write_text("".join(line + "\n" for line in (long, *lines)))
    recipe["data"] |= {"train": [{"kind": "text", "src": "src", "tgt": "tgt"}], "max_length_ratio": None}
    recipe["data"]["max_src_pieces"] = 10**6
    (tmp_path / "long.yaml").write_text(yaml.safe_dump(recipe | {"extensions": ["cramped"], "task": "cramped"}))
    process = start(tmp_path / "long.yaml", "tight", tmp_path, *LARGE, steps=STEPS)
    output, _ = process.communicate(timeout=DEADLINE_SECONDS)
    assert process.returncode == 2, output
    assert re.search(r"training example 0, of \d{5,} source and \d+ target pieces, does not fit into memory", output)
    assert "Traceback" not in output
