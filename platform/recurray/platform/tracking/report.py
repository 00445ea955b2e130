"""The report: one self-contained HTML page about a run, drawn from its folder alone."""

import html
import json
import math
from itertools import chain
from pathlib import Path
from typing import Any

from recurray.platform.errors import UserError
from recurray.platform.evaluation.scores import score_rows
from recurray.platform.tracking.chart import Line, draw
from recurray.platform.tracking.figures import Plot, dev_scores, sections_of
from recurray.platform.tracking.run_log import METRICS_FILE, SAMPLES_FILE, SCORES_FILE, Row, read_rows

REPORT_FILE = "report.html"


def write_report(folder: Path) -> Path:
    """Writes `report.html` into the run's folder and returns its path; UserError where the folder holds no run."""
    if not (folder / METRICS_FILE).exists():
        raise UserError(f"{folder} is no run that has logged anything: it has no {METRICS_FILE}.")
    rows, samples = read_rows(folder / METRICS_FILE), read_rows(folder / SAMPLES_FILE)
    body = [
        _head(folder, rows),
        _scores(folder / SCORES_FILE),
        *(_section(name, plots, rows) for name, plots in sections_of(dict.fromkeys(chain(*rows))).items() if plots),
        _samples(samples),
        _commands(folder),
        _config(folder / "config.yaml"),
    ]
    page = _PAGE.format(title=html.escape(f"{folder.name} · recurray"), style=_STYLE, body="\n".join(body))
    path = folder / REPORT_FILE
    path.write_text(page, encoding="utf-8")
    return path


def _head(folder: Path, rows: list[Row]) -> str:
    if not rows:
        return f"<h1>{html.escape(folder.name)}</h1><p>No step is logged yet.</p>"
    last = rows[-1]
    minutes, seconds = divmod(int(last["seconds"]), 60)
    facts = {
        "steps": f"{last['step']:,}",
        "epochs": str(last["epoch"]),
        "target pieces": f"{sum(row['tokens'] for row in rows):,}",
        "training time": f"{minutes}:{seconds:02}",
        "skipped updates": str(last["skipped_steps"]),
    }
    for name in dev_scores(dict.fromkeys(chain(*rows))):
        facts[f"best dev {name}"] = f"{max(row[f'dev/{name}'] for row in rows if f'dev/{name}' in row):.1f}"
    cells = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f'<h1>{html.escape(folder.name)}</h1><dl class="facts">{cells}</dl>'


def _scores(path: Path) -> str:
    if not path.exists():
        return ""
    scores = json.loads(path.read_text(encoding="utf-8"))
    table = "".join(_score_row(name, found) for name, found in score_rows(scores))
    heads = "<tr><th>score</th><th class=number>value</th><th>signature</th></tr>"
    made_by = f"<p>{scores['lines']:,} lines, by <code>{html.escape(scores['command'])}</code></p>"
    by_length = _by_length(scores.get("by_length", []))
    return f"<h2>Test scores</h2><table>{heads}{table}</table>{made_by}{by_length}"


def _by_length(buckets: list[dict[str, Any]]) -> str:
    if not buckets:
        return ""
    heads = ("words of the reference", "lines", *buckets[0]["scores"])
    rows = [heads]
    for bucket in buckets:
        words = f"{bucket['shortest']:,} to {bucket['longest']:,}"
        rows.append((words, f"{bucket['lines']:,}", *(f"{score:.2f}" for score in bucket["scores"].values())))
    cells = ("".join(f"<td class=number>{cell}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"


def _score_row(name: str, found: dict[str, Any]) -> str:
    signature = f"<code>{html.escape(found['signature'])}</code>"
    return f"<tr><td>{name}</td><td class=number>{found['score']:.2f}</td><td>{signature}</td></tr>"


def _section(name: str, plots: tuple[Plot, ...], rows: list[Row]) -> str:
    figures = "".join(_figure(plot, rows) for plot in plots)
    return f'<h2>{html.escape(name)}</h2><div class="plots">{figures}</div>'


def _figure(plot: Plot, rows: list[Row]) -> str:
    lines = [Line(key, _points(rows, key)) for key in plot.keys]
    legend = "".join(
        f'<span class="line{index}">{html.escape(line.label)}{_latest(line)}</span>' for index, line in enumerate(lines)
    )
    return f"<figure><figcaption><b>{html.escape(plot.title)}</b>{legend}</figcaption>{draw(lines, plot.unit)}</figure>"


def _points(rows: list[Row], key: str) -> list[tuple[float, float]]:
    values = ((row["step"], row.get(key)) for row in rows)
    return [(float(step), float(value)) for step, value in values if value is not None and math.isfinite(value)]


def _latest(line: Line) -> str:
    return f" {line.points[-1][1]:.4g}" if line.points else ""


def _samples(samples: list[Row]) -> str:
    """The last validation's translations, with those of an earlier one beside them."""
    steps = sorted({sample["step"] for sample in samples})
    if not steps:
        return ""
    last, early = steps[-1], steps[len(steps) // 3]
    before = {sample["src"]: sample["hyp"] for sample in samples if sample["step"] == early}
    rows = "".join(
        "<tr>" + "".join(f"<td>{html.escape(text)}</td>" for text in _sample_texts(sample, before)) + "</tr>"
        for sample in samples
        if sample["step"] == last
    )
    heads = "".join(f"<th>{head}</th>" for head in ("source", "reference", f"step {last:,}", f"step {early:,}"))
    return f"<h2>Samples</h2><table class=samples><tr>{heads}</tr>{rows}</table>"


def _sample_texts(sample: Row, before: dict[str, str]) -> list[str]:
    return [sample["src"], sample["ref"], sample["hyp"], before.get(sample["src"], "")]


def _commands(folder: Path) -> str:
    commands = [f"recurray train {folder}/config.yaml", f"recurray report {folder}"]
    text = html.escape("\n".join(commands))
    return f"<h2>Commands</h2><p>The training and this page are made, or made again, by:</p><pre>{text}</pre>"


def _config(path: Path) -> str:
    text: Any = path.read_text(encoding="utf-8") if path.exists() else ""
    return f"<details><summary>Configuration</summary><pre>{html.escape(text)}</pre></details>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{style}</style></head>
<body><main>
{body}
</main></body></html>
"""

_STYLE = """
:root { --ink: #1c2430; --soft: #667085; --rule: #e4e7ec; --paper: #fff; --card: #f8f9fb; --a: #2563eb; --b: #d9480f; }
:root { --c: #0f8a5f; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --soft: #98a2b3; --rule: #2c3340; --paper: #12161d; --card: #191f29; }
  :root { --a: #7aa2ff; --b: #ff9f6b; --c: #5fd0a5; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; margin: 0 0 16px; } h2 { font-size: 18px; margin: 36px 0 12px; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 0; }
.facts div { background: var(--card); border-radius: 8px; padding: 10px 16px; }
dt { color: var(--soft); font-size: 13px; } dd { margin: 0; font-size: 20px; font-variant-numeric: tabular-nums; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 440px), 1fr)); gap: 16px; }
figure { margin: 0; background: var(--card); border-radius: 8px; padding: 12px 14px; }
figcaption { display: flex; flex-wrap: wrap; gap: 4px 16px; align-items: baseline; margin-bottom: 6px; }
figcaption span { font-size: 13px; font-variant-numeric: tabular-nums; }
figcaption .line0 { color: var(--a); } figcaption .line1 { color: var(--b); } figcaption .line2 { color: var(--c); }
svg { width: 100%; height: auto; display: block; } polyline { fill: none; stroke-width: 1.6; }
polyline.line0 { stroke: var(--a); } polyline.line1 { stroke: var(--b); } polyline.line2 { stroke: var(--c); }
circle.line0 { fill: var(--a); } circle.line1 { fill: var(--b); } circle.line2 { fill: var(--c); }
.grid { stroke: var(--rule); } .tick, .axis { fill: var(--soft); font-size: 11px; } .none { color: var(--soft); }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--soft); font-weight: 500; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.samples td { min-width: 190px; overflow-wrap: anywhere; }
pre { background: var(--card); border-radius: 8px; padding: 14px; overflow-x: auto; } code, pre { font-size: 13px; }
summary { cursor: pointer; margin-top: 28px; color: var(--soft); }
"""
