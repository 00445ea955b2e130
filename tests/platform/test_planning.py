"""`recurray train --plan`: what a training will take, and a warning where memory will not do."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recurray.jobs.train import plan
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared, prepare
from recurray.platform.training.feed import Feed
from recurray.platform.training.planning import Measured, describe, outline

GIB = 2**30


@pytest.fixture(scope="module")
def prepared(tiny_config: RunConfig, workplace: Path) -> Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workplace)
        there = prepare(tiny_config)
    return Prepared(workplace / there.folder, there.task)


def measured(bytes_per_position: float, available: int) -> Measured:
    positions = [1_000, 2_000, 4_000]
    memory = [int(GIB + bytes_per_position * count) for count in positions]
    return Measured(update_seconds=2.0, positions=positions, memory=memory, available=available)


def test_memory_is_drawn_on_along_the_line_through_what_was_measured() -> None:
    assert measured(1e6, GIB).memory_at(100_000) == pytest.approx(GIB + 1e11)


def test_the_outline_is_what_the_updates_are(tiny_config: RunConfig, prepared: Prepared) -> None:
    outlined = outline(tiny_config, prepared)
    feed = Feed(prepared.train, tiny_config, rank=0, workers=1, device=torch.device("cpu"))
    feed_of_all = [update for update, _ in feed.updates(1, tiny_config.training.steps)]
    assert outlined.updates_per_epoch == next(number for number in range(1, 1000) if feed.epoch_of(number + 1) == 2)
    dealt = Feed(prepared.train, tiny_config, rank=0, workers=2, device=torch.device("cpu"))
    shares = [dealt.deal(update.number).padding_share for update in feed_of_all]
    assert outlined.padding_share == pytest.approx(float(np.mean(shares)))
    number, source, target = outlined.longest
    src, tgt = prepared.train.src.lengths[:], prepared.train.tgt.lengths[:]
    assert source == src.max()
    assert (source, target) == (src[number], tgt[number])


def test_a_document_that_will_not_fit_is_named_with_what_to_set(tiny_config: RunConfig, prepared: Prepared) -> None:
    outlined = outline(tiny_config, prepared)
    fits = describe(tiny_config, prepared, outlined, measured(1.0, available=2 * GIB))
    assert not any("warning" in line for line in fits)
    positions = outlined.longest[1] + outlined.longest[2]
    too_long = describe(tiny_config, prepared, outlined, measured(2 * GIB / positions, available=2 * GIB))
    assert f"warning: example {outlined.longest[0]:,} alone needs about 3.00 GiB" in too_long[-1]
    assert "resources.segment_length" in too_long[-1]


def test_the_plan_is_measured_on_the_runs_workers_and_leaves_no_run(
    tiny_config: RunConfig,
    workplace: Path,
    ray_cluster: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(workplace)
    planned = tiny_config.model_copy(update={"name": "planned"})
    assert plan(planned) == 0
    printed = capsys.readouterr().out
    for word in ("updates", "padding", "micro-batches", "longest", "time", "memory"):
        assert f"\n  {word}" in printed
    assert not Path(planned.folder).exists()
