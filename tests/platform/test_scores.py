"""Scores by name, the baselines beside them, and how the command and the report show both."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest
from rouge_score.rouge_scorer import RougeScorer

from recurray.jobs.cli import main
from recurray.jobs.evaluate import evaluate
from recurray.platform.errors import UserError
from recurray.platform.evaluation.lead import lead
from recurray.platform.evaluation.scores import METRICS, TASK_METRICS, Score, score_rows, scores_of
from recurray.platform.tracking.report import write_report

ROUGE = ("rouge1", "rouge2", "rougeL")
DOCUMENTS = [
    "A MAC address was not found. It is required to identify the device. Please ensure your device is connectable.",
    "You can now adjust the settings below. Do you want to continue? This cannot be undone! A backup helps.",
]
REFERENCES = ["The MAC address of the device is missing.", "Adjusting settings. It is final, so make backups."]
SUMMARIES = ["The address of a device was missing.", "Adjust the settings with a backup."]


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    lines = {"hyp": SUMMARIES, "ref": REFERENCES, "src": DOCUMENTS}
    return {name: write(tmp_path / name, texts) for name, texts in lines.items()}


def rouge_score_itself(name: str, hypotheses: list[str], references: list[str]) -> float:
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    pairs = zip(references, hypotheses, strict=True)
    figures = [scorer.score(reference, hypothesis)[name].fmeasure for reference, hypothesis in pairs]
    return 100 * sum(figures) / len(figures)


@pytest.mark.parametrize("name", ROUGE)
def test_rouge_is_rouge_scores_own(name: str) -> None:
    expected = rouge_score_itself(name, SUMMARIES, REFERENCES)
    assert 0 < expected < 100
    assert scores_of([name], SUMMARIES, REFERENCES)[name].score == pytest.approx(expected)


def test_rouge_stems_so_that_an_inflected_word_counts() -> None:
    assert METRICS["rouge1"](["adjusted settings"], ["Adjusting the setting."]).score == pytest.approx(80)


def test_rouge_is_100_for_the_references_and_0_for_nothing() -> None:
    assert [score.score for score in scores_of(ROUGE, REFERENCES, REFERENCES).values()] == pytest.approx([100] * 3)
    assert [score.score for score in scores_of(ROUGE, ["", ""], REFERENCES).values()] == [0, 0, 0]


def test_the_signature_of_rouge_names_its_settings_and_version() -> None:
    settings = f"type:f1|stemmer:yes|split:no|agg:mean|version:rouge-score-{version('rouge-score')}"
    for name, score in scores_of(ROUGE, SUMMARIES, REFERENCES).items():
        assert score.signature == f"name:{name}|{settings}"


def test_rouge_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        METRICS["rouge1"](SUMMARIES[:1], REFERENCES)


def test_every_task_is_scored_by_metrics_that_there_are() -> None:
    for task in ("translation", "summarization"):
        names = TASK_METRICS[task]
        assert list(scores_of(names, SUMMARIES, REFERENCES)) == list(names)


def test_a_metric_from_outside_needs_one_entry() -> None:
    @METRICS.register("exact")
    def exact(hypotheses: list[str], references: list[str]) -> Score:
        return Score(100 * sum(map(str.__eq__, hypotheses, references)) / len(references), "exact")

    assert scores_of(["exact"], ["a", "b"], ["a", "c"]) == {"exact": Score(50, "exact")}


def test_lead_takes_the_first_sentences_of_a_document_on_one_line() -> None:
    assert lead(DOCUMENTS[0], 1) == "A MAC address was not found."
    assert lead(DOCUMENTS[1], 3) == (
        "You can now adjust the settings below. Do you want to continue? This cannot be undone!"
    )


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Opening the valve\n\nopens it. Now.", "Opening the valve"),
        ("Opening the\nvalve. Now.", "Opening the valve."),
        ('He said "stop." Then he left.', 'He said "stop."'),
        ("What?! Yes.", "What?!"),
        ("Set app.run to 0.5 for it. Now.", "Set app.run to 0.5 for it."),
        ("1. Introduction to it. More.", "1. Introduction to it."),
        ("1.12. Introduction to it. More.", "1.12. Introduction to it."),
        ("找不到设备。请重试。", "找不到设备。"),
        ("“找不到。”请重试。", "“找不到。”"),
    ],
)
def test_a_sentence_ends_where_a_reader_would_end_it(text: str, first: str) -> None:
    assert lead(text, 1) == first


@pytest.mark.parametrize("text", ["No mark at all", "One. Two.", ""])
def test_lead_of_a_document_with_too_few_sentences_is_all_of_it(text: str) -> None:
    assert lead(f" {text} ", 3) == text


def test_summaries_are_scored_with_the_lead_baselines_beside_them(files: dict[str, Path], tmp_path: Path) -> None:
    output = tmp_path / "scores.json"
    scores = evaluate(files["hyp"], [files["ref"]], output, task="summarization", src=files["src"])
    assert json.loads(output.read_text()) == scores
    assert list(scores) == [*ROUGE, "lead-1", "lead-3", "by_length", "lines", "command"]
    for name in ROUGE:
        assert scores[name]["score"] == pytest.approx(rouge_score_itself(name, SUMMARIES, REFERENCES))
        for sentences in (1, 3):
            expected = rouge_score_itself(name, [lead(text, sentences) for text in DOCUMENTS], REFERENCES)
            assert scores[f"lead-{sentences}"][name]["score"] == pytest.approx(expected)


def test_the_command_beside_the_scores_gives_the_same_scores(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = evaluate(files["hyp"], [files["ref"]], task="summarization", src=files["src"])
    command = scores["command"].split()
    assert main(command[1:]) == 0
    rows = capsys.readouterr().out.splitlines()[:9]
    for row, (name, score) in zip(rows, score_rows(scores), strict=True):
        assert row.split() == [*name.split(), f"{score['score']:.2f}", score["signature"]]


def test_without_documents_there_are_no_baselines(files: dict[str, Path]) -> None:
    assert list(evaluate(files["hyp"], [files["ref"]], task="summarization")) == [
        *ROUGE,
        "by_length",
        "lines",
        "command",
    ]


def test_without_a_task_files_are_scored_as_translations(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scores = evaluate(files["hyp"], [files["ref"]])
    assert list(scores) == ["bleu", "chrf", "ter", "by_length", "lines", "command"]
    assert scores["command"] == f"recurray evaluate --hyp {files['hyp']} --ref {files['ref']}"
    assert main(scores["command"].split()[1:]) == 0
    assert f"bleu  {scores['bleu']['score']:6.2f}  nrefs:1|" in capsys.readouterr().out


def test_an_unknown_task_names_the_known_ones(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match=r"summarisation is no task .* translation, summarization"):
        evaluate(files["hyp"], [files["ref"]], task="summarisation")


def test_documents_are_refused_where_they_would_not_be_read(files: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="add --task summarization"):
        evaluate(files["hyp"], [files["ref"]], src=files["src"])


def test_documents_that_are_not_parallel_are_refused(files: dict[str, Path]) -> None:
    write(files["src"], DOCUMENTS[:1])
    with pytest.raises(UserError, match=r"src has 1 lines but .* has 2"):
        evaluate(files["hyp"], [files["ref"]], task="summarization", src=files["src"])


def test_the_report_shows_the_baselines_as_rows(files: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").touch()
    output = tmp_path / "test" / "scores.json"
    scores = evaluate(files["hyp"], [files["ref"]], output, task="summarization", src=files["src"])
    page = write_report(tmp_path).read_text()
    for name, score in score_rows(scores):
        assert f"<td>{name}</td><td class=number>{score['score']:.2f}</td>" in page
    assert "<td>lead-3 rougeL</td>" in page
