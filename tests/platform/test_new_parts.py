"""An encoder block, an attention and a decoder from outside the package, named in a recipe, trained by the engine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.few_updates import Trained, train_in_process
from tests.models.samples import alone, assert_same, best_targets, random_lines

from recurray.models import Seq2Seq
from recurray.platform.config.loading import load_config, to_yaml
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import Pair, read_pairs, source_identity
from recurray.platform.errors import UserError

EXTENSIONS = Path(__file__).with_name("extensions")
OWN_PARTS = [
    "extensions=[convolution, cosine, memoryless]",
    "model.encoder=[{kind: lstm, hidden_dim: 16}, {kind: convolution}, {kind: convolution, width: 5}]",
    "model.attention.kind=cosine",
    "model.decoder={kind: memoryless}",
]


@pytest.fixture(autouse=True, scope="module")
def _importable() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXTENSIONS)
        yield


@pytest.fixture(scope="module")
def config(tiny_recipe: Path, workplace: Path, _importable: None) -> RunConfig:
    return load_config(tiny_recipe, [*OWN_PARTS, f"data.prepared={workplace}/data/prepared"])


@pytest.fixture(scope="module")
def trained(config: RunConfig, process_group: None) -> Trained:
    return train_in_process(config, updates=10)


def test_the_loss_falls(trained: Trained) -> None:
    assert trained.losses[-1] < trained.losses[0] - 0.5


def test_padding_changes_neither_loss_nor_translations(trained: Trained) -> None:
    network = trained.network
    assert isinstance(network, Seq2Seq)
    src, tgt = random_lines([6, 2, 4], 600, seed=1), random_lines([3, 5, 1], 600, seed=2)
    each = sum(network(alone(src, row), alone(tgt, row)).loss for row in range(3))
    assert_same([network(src, tgt).loss], [each], tolerance=1e-5)
    longest = src.lengths * 2
    together = best_targets(network, src, beam_size=3, length_penalty=1.0, max_lengths=longest)
    for row, hypothesis in enumerate(together):
        (found,) = best_targets(
            network, alone(src, row), beam_size=3, length_penalty=1.0, max_lengths=longest[row : row + 1]
        )
        # Without a memory the same pieces in another order may have the same probability, so scores are compared.
        assert found.score == pytest.approx(hypothesis.score, rel=1e-5)


def test_the_printed_configuration_holds_the_blocks_own_key_and_is_itself_a_recipe(
    config: RunConfig, tmp_path: Path
) -> None:
    printed = tmp_path / "config.yaml"
    printed.write_text(to_yaml(config))
    assert "width: 3" in printed.read_text()
    assert load_config(printed) == config


def test_an_unknown_key_of_the_block_names_the_nearest(config: RunConfig, tiny_recipe: Path) -> None:
    with pytest.raises(UserError, match=r"no key `widht` in the encoder block convolution; did you mean `width`\?"):
        load_config(tiny_recipe, [*OWN_PARTS, "model.encoder.1.widht=5"])


def test_a_source_of_its_own_kind_is_read(config: RunConfig, tiny_recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "pairs").write_text("one\neins\ntwo\nzwei\n")
    kind = ["extensions=[alternating]", f"data.train=[{{kind: alternating, path: {tmp_path}/pairs}}]"]
    (source,) = load_config(tiny_recipe, kind).data.train
    assert list(read_pairs(source)) == [Pair("one", "eins"), Pair("two", "zwei")]
    before = source_identity(source)
    (tmp_path / "pairs").write_text("one\neins\n")
    assert source_identity(source) != before
    with pytest.raises(UserError, match=r"no key `pth` in the source alternating; did you mean `path`\?"):
        load_config(tiny_recipe, [*kind, "data.train.0.pth=x"])


def test_the_examples_of_the_guide_are_the_ones_that_are_tested() -> None:
    guide = (Path(__file__).parents[2] / "docs/extending.md").read_text()
    examples = [part.partition("```")[0] for part in guide.split("```python\n")[1:]]
    tested = [*EXTENSIONS.glob("*.py"), Path(__file__).with_name("test_new_cell.py")]
    assert len(examples) == 7
    for example in examples:
        assert any(stands_in(example, path.read_text()) for path in tested), example


def stands_in(example: str, module: str) -> bool:
    """Every line of the example stands in the module, in that order."""
    lines = iter(module.splitlines())
    return all(line in lines for line in example.splitlines())
