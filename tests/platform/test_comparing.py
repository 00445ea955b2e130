"""Several references, several systems and buckets of lengths, against what sacreBLEU and rouge-score say themselves."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

from recurray.jobs.cli import main
from recurray.jobs.evaluate import compare, evaluate
from recurray.platform.errors import UserError
from recurray.platform.evaluation.lengths import count_words, scores_by_length
from recurray.platform.evaluation.scores import METRICS, TASK_METRICS, Score, scores_of

DATA = Path(__file__).parents[1] / "data"
SACREBLEU = {"bleu": BLEU, "chrf": CHRF, "ter": TER}
LINES = 150


def without_every(nth: int, texts: list[str]) -> list[str]:
    """Each text without its nth, 2nth, ... word."""
    return [" ".join(word for place, word in enumerate(text.split(), 1) if place % nth) for text in texts]


REFERENCES = (DATA / "test.de").read_text().split("\n")[:LINES]
OTHERS = without_every(6, REFERENCES)
SYSTEMS = {"three": without_every(3, REFERENCES), "four": without_every(4, REFERENCES)}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for name, texts in {**SYSTEMS, "ref": REFERENCES, "other": OTHERS}.items():
        found[name] = tmp_path / name
        found[name].write_text("".join(text + "\n" for text in texts))
    return found


def sacrebleu(*words: Any) -> str:
    """What sacreBLEU's own command prints."""
    command = [Path(sys.executable).with_name("sacrebleu"), *words, "-m", "bleu", "chrf", "ter", "-q", "-nc"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_scores_with_several_references_are_those_that_sacrebleus_command_prints(files: dict[str, Path]) -> None:
    printed = json.loads(sacrebleu(files["ref"], files["other"], "-i", files["three"], "-w", "9"))
    scores = evaluate(files["three"], [files["ref"], files["other"]])
    alone = evaluate(files["three"], [files["ref"]])
    for name, theirs in zip(("bleu", "chrf", "ter"), printed, strict=True):
        assert scores[name]["score"] == pytest.approx(theirs["score"], abs=1e-8)
        assert scores[name]["signature"] == theirs["signature"]
        assert scores[name]["signature"].startswith("nrefs:2|")
        assert scores[name]["score"] != alone[name]["score"]


def test_rouge_of_several_references_is_rouge_scores_best_of_each_line() -> None:
    scorer = RougeScorer(["rouge1"], use_stemmer=True)
    lines = zip(REFERENCES, OTHERS, SYSTEMS["three"], strict=True)
    expected = [scorer.score_multi([one, other], found)["rouge1"].fmeasure for one, other, found in lines]
    found = METRICS["rouge1"](SYSTEMS["three"], REFERENCES, OTHERS)
    assert found.score == pytest.approx(100 * np.mean(expected))
    assert "|nrefs:2|multi:best|" in found.signature
    assert found.score > METRICS["rouge1"](SYSTEMS["three"], REFERENCES).score


def test_a_metric_of_one_reference_refuses_two() -> None:
    @METRICS.register("same length")
    def same_length(hypotheses: list[str], references: list[str]) -> Score:
        pairs = zip(hypotheses, references, strict=True)
        return Score(100 * sum(len(one) == len(other) for one, other in pairs) / len(references), "same length")

    assert scores_of(["same length"], ["a"], ["b"])["same length"].score == 100
    with pytest.raises(UserError, match="metric same length does not take 2 references of each line"):
        scores_of(["same length"], ["a"], ["b"], ["c"])


def test_the_paired_bootstrap_finds_what_sacrebleus_command_finds(files: dict[str, Path]) -> None:
    words = [files["ref"], files["other"], "-i", files["three"], files["four"], "--paired-bs", "-f", "text", "-w", "6"]
    printed = sacrebleu(*words)
    systems = compare([files["three"], files["four"]], [files["ref"], files["other"]])["systems"]
    number = r"(\d+\.\d+)"
    theirs = re.findall(rf"{number} \({number} ± {number}\)", printed)
    ours = [[system[name][key] for key in ("score", "mean", "ci")] for system in systems for name in SACREBLEU]
    assert [list(map(float, found)) for found in theirs] == [pytest.approx(found, abs=1e-6) for found in ours]
    p_values = list(map(float, re.findall(rf"p = {number}", printed)))
    assert p_values == [round(systems[1][name]["p_value"], 4) for name in SACREBLEU]
    assert min(p_values) < 0.05 < max(p_values)
    for name in SACREBLEU:
        assert "p_value" not in systems[0][name]
        assert systems[1][name]["signature"] in printed


def test_the_seed_is_sacrebleus(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    hyps = [files["three"], files["four"]]
    first = compare(hyps, [files["ref"]], task="summarization")
    assert compare(hyps, [files["ref"]], task="summarization") == first
    monkeypatch.setenv("SACREBLEU_SEED", "7")
    other = compare(hyps, [files["ref"]], task="summarization")["systems"][1]["rouge1"]
    assert other["mean"] != first["systems"][1]["rouge1"]["mean"]
    assert "|seed:7|" in other["signature"]


def test_the_paired_bootstrap_of_rouge_is_that_of_its_definition(files: dict[str, Path]) -> None:
    scorer = RougeScorer(["rouge2"], use_stemmer=True)
    f1 = [
        np.array([scorer.score(ref, hyp)["rouge2"].fmeasure for ref, hyp in zip(REFERENCES, texts, strict=True)])
        for texts in SYSTEMS.values()
    ]
    chosen = np.random.default_rng(12345).choice(LINES, size=(1000, LINES), replace=True)
    resampled = [100 * figures[chosen].mean(axis=1) for figures in f1]
    differences = np.abs(resampled[1] - resampled[0])
    real = 100 * abs(f1[1].mean() - f1[0].mean())
    p_value = (np.sum(differences - differences.mean() > real) + 1) / 1001
    scores = compare([files["three"], files["four"]], [files["ref"]], task="summarization")["systems"][1]["rouge2"]
    assert scores["p_value"] == pytest.approx(p_value)
    assert scores["mean"] == pytest.approx(resampled[1].mean(), rel=1e-5)


def test_buckets_hold_every_line_once_and_each_has_sacrebleus_score_of_its_lines() -> None:
    buckets = scores_by_length(SACREBLEU, SYSTEMS["three"], [REFERENCES, OTHERS])
    assert len(buckets) > 3
    assert sum(bucket["lines"] for bucket in buckets) == LINES
    for bucket in buckets:
        within = range(bucket["shortest"], bucket["longest"] + 1)
        rows = [row for row, text in enumerate(REFERENCES) if len(text.split()) in within]
        assert len(rows) == bucket["lines"]
        hypotheses, *references = ([texts[row] for row in rows] for texts in (SYSTEMS["three"], REFERENCES, OTHERS))
        for name, metric in SACREBLEU.items():
            assert bucket["scores"][name] == metric().corpus_score(hypotheses, references).score


def test_buckets_double_and_their_bounds_belong_to_them() -> None:
    texts = [" ".join(["w"] * words) for words in (0, 1, 4, 5, 8, 9, 16, 17, 33)]
    buckets = scores_by_length(["chrf"], texts, [texts])
    found = [(bucket["shortest"], bucket["longest"], bucket["lines"]) for bucket in buckets]
    assert found == [(0, 4, 3), (5, 8, 2), (9, 16, 2), (17, 32, 1), (33, 64, 1)]


@pytest.mark.parametrize(
    ("text", "words"), [("", 0), ("Das  Licht!", 2), ("找不到设备", 5), ("WLAN 设备名", 4), ("デバイス", 4)]
)
def test_chinese_and_japanese_characters_are_words(text: str, words: int) -> None:
    assert count_words(text) == words


def test_the_command_prints_systems_with_chances_and_buckets(
    files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "scores.json"
    words = ["--hyp", str(files["three"]), "--hyp", str(files["four"]), "--ref", str(files["ref"])]
    assert main(["evaluate", *words, "--task", "summarization", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    scores = json.loads(output.read_text())
    assert f"{files['three']}, the baseline:" in printed
    second = scores["systems"][1]
    for name in TASK_METRICS["summarization"]:
        assert f"p = {second[name]['p_value']:.3f}" in printed
    for bucket in second["by_length"]:
        cells = [f"{bucket['shortest']}-{bucket['longest']}", str(bucket["lines"])]
        cells += [f"{score:.2f}" for score in bucket["scores"].values()]
        assert cells in [line.split() for line in printed.splitlines()]
    assert main(scores["command"].split()[1:]) == 0
    assert capsys.readouterr().out == printed


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--ref ref", "name either a MODEL, .* or a file of outputs with --hyp"),
        ("model --hyp three --ref ref", "name either a MODEL"),
        ("model --ref ref", "--src is missing: the source texts that model is to read"),
        ("model --src ref --ref ref --task translation", "--task translation is for --hyp"),
        ("--hyp three --ref ref --ref short", "short has 2 lines but ref has 150; they must be parallel"),
        ("--hyp three --hyp short --ref ref", "short has 2 lines but ref has 150"),
        ("--hyp three --hyp three --ref ref", "--hyp three is named twice"),
        ("--hyp three --ref ref --src ref", "--src ref is read by a MODEL, or by the baselines of summaries"),
        ("--hyp three --hyp four --ref ref --log-to x", "--log-to takes the scores of one system"),
        ("--hyp three --ref ref --log-to x", "runs/x is no run that has logged anything"),
        ("--hyp missing --ref ref", "missing does not exist"),
        ("--hyp empty --ref empty", "empty is empty; there is nothing to score"),
    ],
)
def test_a_mistake_ends_with_one_sentence_and_status_2(
    files: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    message: str,
) -> None:
    monkeypatch.chdir(files["ref"].parent)
    Path("short").write_text("eins\nzwei\n")
    Path("empty").touch()
    assert main(["evaluate", *words.split()]) == 2
    captured = capsys.readouterr()
    assert re.fullmatch(f"recurray evaluate: .*{message}.*\n", captured.err)
    assert captured.out == ""
