import json
import re
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from recurray.jobs.report import report
from recurray.platform.errors import UserError
from recurray.platform.tracking.chart import thin
from recurray.platform.tracking.dashboards import apply_workspace, describe, make_workspace
from recurray.platform.tracking.figures import SECTIONS


def row(step: int, **changes: Any) -> dict[str, Any]:
    figures = {
        "epoch": 1,
        "loss": 5.0 / step,
        "learning_rate": 1e-3,
        "grad_norm": 0.5,
        "tokens": 10,
        "skipped_steps": 0,
    }
    speed = {"tokens_per_second": 100.0, "padding_share": 0.1, "data_wait_share": 0.0, "seconds": step}
    return {"step": step} | figures | speed | changes


DEV = {"dev/loss": 4.0, "dev/perplexity": 54.6, "dev/bleu": 1.5, "dev/chrf": 9.0}
HOSTILE = '<script>alert("x")</script> & {subtype}'


def write_run(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "test").mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    sample = {"step": 2, "src": HOSTILE, "ref": HOSTILE, "hyp": HOSTILE}
    (folder / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (folder / "config.yaml").write_text("name: <b>demo</b>\n")
    scores = {"bleu": {"score": 29.17, "signature": "nrefs:1|tok:13a"}, "lines": 9, "command": "recurray evaluate …"}
    (folder / "test" / "scores.json").write_text(json.dumps(scores))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "demo", [row(1), row(2, **DEV), row(3, loss=None, grad_norm=None)])


def test_the_page_shows_every_plot_that_the_run_has_figures_for_and_no_other(run: Path) -> None:
    page = report(run).read_text()
    for plot in chain(*SECTIONS.values()):
        assert (f"<b>{plot.title}</b>" in page) == any(key in row(2, **DEV) for key in plot.keys), plot
    assert "ROUGE" not in page


def test_a_score_that_has_no_plot_of_its_own_is_shown_under_its_name(tmp_path: Path) -> None:
    page = report(write_run(tmp_path / "series", [row(1), row(2, **{"dev/loss": 4.0, "dev/r2": 71.5})])).read_text()
    assert "<b>r2</b>" in page
    assert "<dt>best dev r2</dt><dd>71.5</dd>" in page
    assert "Perplexity" not in page


def test_the_page_shows_the_test_scores_and_how_they_were_made(run: Path) -> None:
    page = report(run).read_text()
    assert "29.17" in page
    assert "nrefs:1|tok:13a" in page
    assert "recurray evaluate …" in page


def test_what_a_run_holds_cannot_run_as_code_in_the_page(run: Path) -> None:
    page = report(run).read_text()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 4
    assert "<b>demo" not in page


def test_the_page_asks_nothing_of_the_network(run: Path) -> None:
    assert not re.findall(r"(?:src|href|url|@import)\s*[=(]", report(run).read_text())


def test_a_row_that_a_kill_tore_is_left_out(run: Path) -> None:
    whole = report(run).read_text()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')
    assert report(run).read_text() == whole


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"it has no metrics\.jsonl"):
        report(tmp_path)


def test_a_run_that_has_logged_nothing_yet_has_a_page(tmp_path: Path) -> None:
    assert "No step is logged yet" in report(write_run(tmp_path / "new", [])).read_text()


def test_thinning_a_long_line_keeps_its_extremes_and_its_order() -> None:
    points = [(float(step), 1.0) for step in range(100_000)]
    points[41_234], points[77_777] = (41_234.0, 9.0), (77_777.0, -9.0)
    kept = thin(points)
    assert len(kept) < 2_000
    assert {(41_234.0, 9.0), (77_777.0, -9.0)} <= set(kept)
    assert kept == sorted(kept)


def test_the_workspace_shows_every_figure_of_the_report() -> None:
    shown = describe(make_workspace("team", "translation"))
    for plots in SECTIONS.values():
        for plot in plots:
            assert f"{plot.title} ({plot.unit}): {', '.join(plot.keys)} over Step" in shown
    assert "team/translation" in shown


def test_without_a_key_the_workspace_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(UserError, match="wandb login"):
        apply_workspace(None, "translation")
