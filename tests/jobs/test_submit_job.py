"""What `recurray submit` sends, and what it stops at before it sends anything."""

import argparse
from pathlib import Path

import pytest

from recurray.cluster.connect import Cluster
from recurray.jobs import submit
from recurray.platform.errors import UserError

LOCAL = Cluster("http://127.0.0.1:8265", Path("token"))
ELSEWHERE = Cluster("http://cluster:8265")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    submit.add_arguments(parser)
    return parser.parse_args(words)


def test_everything_after_the_command_is_the_commands_own() -> None:
    parsed = parse("--no-wait", "train", "demo", "--fresh", "training.steps=5", "--address", "x")
    assert (parsed.no_wait, parsed.address) == (True, None)
    assert (parsed.job, parsed.arguments) == ("train", ["demo", "--fresh", "training.steps=5", "--address", "x"])


def test_local_job_names_the_recipe_where_it_lies() -> None:
    command = submit.entrypoint(LOCAL, "train", ["folder/my.yaml", "training.steps=5"], Path("folder/my.yaml"))
    assert command == ["python", "-m", "recurray.jobs", "train", "folder/my.yaml", "training.steps=5"]


def test_job_elsewhere_names_the_copy_of_the_recipe_that_travels_with_it() -> None:
    command = submit.entrypoint(ELSEWHERE, "train", ["--fresh", "folder/my.yaml"], Path("folder/my.yaml"))
    assert command == ["python", "-m", "recurray.jobs", "train", "--fresh", "my.yaml"]


def test_translate_goes_through_unchanged() -> None:
    words = ["s3://models/demo", "--input", "s3://data/a.txt", "--output", "s3://data/b.txt"]
    assert submit.entrypoint(ELSEWHERE, "translate", words) == ["python", "-m", "recurray.jobs", "translate", *words]


def test_shipped_recipe_does_not_travel_and_a_file_does(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text((Path(__file__).parents[2] / "jobs/recipes/demo.yaml").read_text())
    assert submit.check("train", ["demo"]) is None
    assert submit.check("train", [str(own), "--fresh"]) == own


@pytest.mark.parametrize("words", [["no-such-recipe"], ["demo", "no.such.key=1"]])
def test_mistake_in_the_jobs_arguments_stops_before_a_cluster_is_sought(words: list[str]) -> None:
    with pytest.raises(UserError):
        submit.run(parse("train", *words))


def test_unknown_option_of_the_job_stops_before_a_cluster_is_sought(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        submit.run(parse("train", "demo", "--no-such-option"))
    assert "--no-such-option" in capsys.readouterr().err
