from pathlib import Path

import pytest
import yaml

from recurray.jobs.recipes import find_recipe, shipped_recipes
from recurray.jobs.train import train
from recurray.platform.config.loading import differing_keys, load_config, to_yaml
from recurray.platform.config.model import RecurrentBlockConfig
from recurray.platform.errors import UserError

COLUMNS = "{kind: columns, merge: gate, columns: [[{kind: lstm}], [{kind: transformer, heads: 2}, {kind: gru}]]}"


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
    rewrite(recipe, model={"embeding_dim": 4})
    assert complaint(recipe) == f"{recipe}: there is no key `model.embeding_dim`; did you mean `model.embedding_dim`?"


def test_an_unknown_key_that_lives_elsewhere_is_found_there(recipe: Path) -> None:
    assert "did you mean `model.dropout`?" in complaint(recipe, "training.dropout=0.1")
    assert "did you mean `model.decoder.input_feeding`?" in complaint(recipe, "model.input_feeding=true")


def test_an_unknown_key_beside_blocks_that_hold_blocks_is_found_too(recipe: Path) -> None:
    assert "did you mean `model.dropout`?" in complaint(recipe, f"model.encoder=[{COLUMNS}]", "training.dropout=0.1")


def test_an_unknown_key_from_the_command_line_is_laid_to_the_command_line(recipe: Path) -> None:
    assert complaint(recipe, "training.stps=3").startswith("the command line: there is no key `training.stps`")


def test_a_wrong_value_names_the_key_what_was_expected_and_what_was_found(recipe: Path) -> None:
    assert "`training.steps`: input should be greater than 0, found -3" in complaint(recipe, "training.steps=-3")


def test_a_wrong_value_in_a_source_names_its_place(recipe: Path) -> None:
    assert "data.dev" in complaint(recipe, "data.dev.srcc=x")


def test_a_missing_key_is_named(recipe: Path) -> None:
    rewrite(recipe, training={"batch_tokens": 5})
    assert "the key `training.steps` is missing" in complaint(recipe)


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("model.encoder.0.kind=lstmm", "`model.encoder.0`: there is no encoder block `lstmm`; did you mean `lstm`?"),
        ("model.decoder.kind=recurent", "`model.decoder`: there is no decoder `recurent`; did you mean `recurrent`?"),
        ("model.decoder.cell=grru", "`model.decoder.cell`: there is no cell `grru`; did you mean `gru`?"),
        (
            "model.attention.kind=aditive",
            "`model.attention.kind`: there is no attention `aditive`; did you mean `additive`?",
        ),
        ("task=translate", "`task`: there is no task `translate`; did you mean `translation`?"),
    ],
)
def test_a_part_that_is_not_there_names_the_nearest(recipe: Path, assignment: str, sentence: str) -> None:
    assert complaint(recipe, assignment) == f"the command line: {sentence}"


@pytest.mark.parametrize(
    ("assignment", "place", "key", "nearest"),
    [
        ("model.encoder.0.hiden_dim=3", "encoder.0", "hiden_dim", "hidden_dim"),
        ("model.encoder=[{kind: lstm}, {kind: pyramid, fctor: 2}]", "encoder.1", "fctor", "factor"),
        (f"model.encoder=[{COLUMNS.replace('heads', 'hedas')}]", "encoder.0.columns.1.0", "hedas", "heads"),
        ("model.decoder={kind: recurrent, cel: gru}", "decoder", "cel", "cell"),
    ],
)
def test_an_unknown_key_of_a_part_names_the_nearest_of_its_kind(
    recipe: Path, assignment: str, place: str, key: str, nearest: str
) -> None:
    message = complaint(recipe, assignment)
    assert message.startswith(f"the command line: `model.{place}`: there is no key `{key}`")
    assert message.endswith(f"did you mean `{nearest}`?")


def test_a_key_of_another_kind_of_part_is_unknown_and_those_of_this_kind_are_named(recipe: Path) -> None:
    message = complaint(recipe, "model.encoder.0.feed_forward_dim=2")
    assert message.endswith("there are kind, hidden_dim, layers, bidirectional, residual.")


def test_a_wrong_value_in_a_block_names_its_place_and_nothing_else(recipe: Path) -> None:
    message = complaint(recipe, "model.encoder.0.hidden_dim=-2")
    assert message == "the command line: `model.encoder.0.hidden_dim`: input should be greater than 0, found -2."


def test_an_entry_of_a_list_is_changed_by_its_number(recipe: Path) -> None:
    changed = load_config(recipe, ["model.encoder.0.hidden_dim=128", "data.train.0.src=other.en"])
    assert list(changed.model.encoder) == [RecurrentBlockConfig(kind="lstm", hidden_dim=128)]
    assert changed.data.train[0].model_dump()["src"] == "other.en"


@pytest.mark.parametrize("number", ["1", "-1", "first"])
def test_an_entry_that_a_list_lacks_is_named_with_how_many_there_are(recipe: Path, number: str) -> None:
    message = complaint(recipe, f"model.encoder.{number}.hidden_dim=128")
    assert f"`model.encoder.{number}.hidden_dim=` on the command line: {number} is no entry of a list of 1" in message


def test_an_extension_that_is_not_there_is_named_with_where_it_may_lie(recipe: Path) -> None:
    message = complaint(recipe, "extensions=[no_such_module]")
    assert message.startswith("extensions: no_such_module could not be imported")
    assert message.endswith("expected a Python module that is installed or lies in the working directory.")


MISFITS = {
    "model.attention.kind=dot": "dot attention compares 256 units of a query with 512 of a state",
    "model.attention.heads=3": "3 heads cannot share 256 units",
    "model.encoder=[{kind: transformer, heads: 5}]": "5 heads cannot share 256 units",
    "model.decoder={kind: transformer, heads: 7}": "7 heads cannot share 256 units",
    "model={pointer: {coverage: false}, encoder: [{kind: lstm}, {kind: pyramid}]}": "a pyramid block does not keep",
    "model={pointer: {}}": "pointer.coverage needs attention.kind additive",
    "model={pointer: {}, attention: {kind: additive, window: 9}}": "additive without a window",
    "model={pointer: {}, attention: {kind: additive}, decoder: {kind: transformer}}": "decoder.kind recurrent",
}


@pytest.mark.parametrize(("assignment", "misfit"), MISFITS.items())
def test_parts_that_do_not_go_together_are_refused_in_one_sentence_before_any_work(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, assignment: str, misfit: str
) -> None:
    monkeypatch.chdir(recipe.parent)
    with pytest.raises(UserError) as caught:
        train(load_config(recipe, [assignment]))
    message = str(caught.value)
    assert message.startswith("model: ")
    assert misfit in message
    assert message.endswith(".")
    assert "\n" not in message
    assert list(recipe.parent.iterdir()) == [recipe]


def test_broken_yaml_names_the_file_and_the_line(recipe: Path) -> None:
    recipe.write_text("name: [")
    assert str(recipe) in complaint(recipe)
    assert "line 1" in complaint(recipe)


def test_an_assignment_without_a_value_is_refused(recipe: Path) -> None:
    assert "not of the form key.path=value" in complaint(recipe, "training.steps")


def test_a_recipe_that_is_not_there_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean `demo`"):
        find_recipe("dmeo")


SHAPES = [
    "{}",
    "{encoder: [{kind: gru, bidirectional: false}, {kind: peephole}], decoder: {kind: recurrent, cell: lnlstm}}",
    "{encoder: [{kind: transformer, positions: sinusoidal}, {kind: lstm, residual: false}], tie_embeddings: false}",
    "{encoder: [{kind: rnn}, {kind: transformer, window: 5}], decoder: {kind: transformer, layers: 1}}",
    f"{{encoder: [{COLUMNS}, {{kind: lstm}}]}}",
    f"{{encoder: [{{kind: columns, columns: [[{COLUMNS}, {{kind: rnn}}], [{{kind: transformer}}]]}}]}}",
    "{attention: {kind: additive}, pointer: {coverage_weight: 0.5}, decoder: {kind: recurrent, input_feeding: true}}",
    "{attention: {kind: general, window: 7}}",
]


@pytest.mark.parametrize("shape", SHAPES)
def test_the_resolved_configuration_of_any_shape_is_itself_a_recipe(recipe: Path, tmp_path: Path, shape: str) -> None:
    config = load_config(recipe, ["training.steps=7", f"model={shape}"])
    resolved = tmp_path / "config.yaml"
    resolved.write_text(to_yaml(config))
    assert load_config(resolved) == config
    assert differing_keys(load_config(resolved), config) == []


def test_the_resolved_configuration_holds_the_keys_of_nested_blocks(recipe: Path) -> None:
    tree = yaml.safe_load(to_yaml(load_config(recipe, [f"model.encoder=[{COLUMNS}]"])))
    left, right = tree["model"]["encoder"][0]["columns"]
    assert left == [{"kind": "lstm", "hidden_dim": 256, "layers": 1, "bidirectional": True, "residual": True}]
    assert (right[0]["kind"], right[0]["heads"], right[0]["positions"]) == ("transformer", 2, "rotary")


def test_differing_keys_are_named_with_both_values(recipe: Path) -> None:
    one, other = load_config(recipe), load_config(recipe, ["model.dropout=0.2"])
    assert differing_keys(one, other) == ["model.dropout (0.1, 0.2)"]
    assert differing_keys(one, one) == []


def test_a_block_that_differs_is_seen(recipe: Path) -> None:
    (difference,) = differing_keys(load_config(recipe), load_config(recipe, ["model.encoder.0.hidden_dim=8"]))
    assert difference.startswith("model.encoder")
    assert "'hidden_dim': 8" in difference
