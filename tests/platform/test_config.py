from pathlib import Path

import pytest
import yaml

from recurray.jobs.recipes import find_recipe, shipped_recipes
from recurray.platform.config.loading import differing_keys, load_config, to_yaml
from recurray.platform.errors import UserError


def complaint(recipe: Path, *assignments: str) -> str:
    with pytest.raises(UserError) as caught:
        load_config(recipe, assignments)
    return str(caught.value)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(find_recipe("demo").read_text())
    return path


def rewrite(recipe: Path, **sections: object) -> Path:
    recipe.write_text(yaml.safe_dump(yaml.safe_load(recipe.read_text()) | sections))
    return recipe


@pytest.mark.parametrize("name", shipped_recipes())
def test_a_shipped_recipe_is_valid(name: str) -> None:
    assert load_config(find_recipe(name)).name == name


def test_an_unknown_key_names_the_file_the_path_and_the_nearest_key(recipe: Path) -> None:
    rewrite(recipe, model={"hiden_dim": 4})
    assert complaint(recipe) == f"{recipe}: there is no key `model.hiden_dim`; did you mean `model.hidden_dim`?"


def test_an_unknown_key_that_lives_elsewhere_is_found_there(recipe: Path) -> None:
    assert "did you mean `model.dropout`?" in complaint(recipe, "training.dropout=0.1")


def test_an_unknown_key_from_the_command_line_is_laid_to_the_command_line(recipe: Path) -> None:
    assert complaint(recipe, "training.stps=3").startswith("the command line: there is no key `training.stps`")


def test_a_wrong_value_names_the_key_what_was_expected_and_what_was_found(recipe: Path) -> None:
    assert "`training.steps`: input should be greater than 0, found -3" in complaint(recipe, "training.steps=-3")


def test_a_wrong_value_in_a_source_names_its_place(recipe: Path) -> None:
    assert "data.dev" in complaint(recipe, "data.dev.srcc=x")


def test_a_missing_key_is_named(recipe: Path) -> None:
    rewrite(recipe, training={"batch_tokens": 5})
    assert "the key `training.steps` is missing" in complaint(recipe)


def test_a_rule_between_two_keys_names_both(recipe: Path) -> None:
    assert "attention_heads 3 must divide hidden_dim 256" in complaint(recipe, "model.attention_heads=3")


def test_broken_yaml_names_the_file_and_the_line(recipe: Path) -> None:
    recipe.write_text("name: [")
    assert str(recipe) in complaint(recipe)
    assert "line 1" in complaint(recipe)


def test_an_assignment_without_a_value_is_refused(recipe: Path) -> None:
    assert "not of the form key.path=value" in complaint(recipe, "training.steps")


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean `demo`"):
        find_recipe("dmeo")


def test_the_resolved_configuration_is_itself_a_recipe(recipe: Path, tmp_path: Path) -> None:
    config = load_config(recipe, ["training.steps=7"])
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config(resolved) == config


def test_differing_keys_are_named_with_both_values(recipe: Path) -> None:
    one, other = load_config(recipe), load_config(recipe, ["model.dropout=0.2"])
    assert differing_keys(one, other) == ["model.dropout (0.1, 0.2)"]
    assert differing_keys(one, one) == []
