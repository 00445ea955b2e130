"""What a run starts from: another model's weights by name and by piece, and pretrained word vectors."""

from pathlib import Path

import pytest
import torch
from tests.conftest import DATA

from recurray.models import Seq2Seq
from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.data.preparing import Prepared, prepare
from recurray.platform.data.tokenizer import Tokenizer
from recurray.platform.errors import UserError
from recurray.platform.saved_model import SavedConfig, SavedModel, load, save
from recurray.platform.tasks.text import TextCodec
from recurray.platform.training.initial_weights import read_initial_weights, write_initial_weights


@pytest.fixture
def given(tiny_config: RunConfig, tmp_path: Path) -> Path:
    """A saved model with a vocabulary of its own."""
    texts = (DATA / "train.de").read_text().splitlines()
    codec = TextCodec(Tokenizer.train(texts, tiny_config.tokenizer.model_copy(update={"vocab_size": 500})))
    from recurray.platform.tasks.translation import Translation

    torch.manual_seed(7)
    network = Translation().build_network(tiny_config.model, codec)
    save(tmp_path / "given", SavedModel(Translation(), network, codec, SavedConfig.of(tiny_config)), card="")
    return tmp_path / "given"


def started(config: RunConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Prepared, Seq2Seq, list[str]]:
    """The prepared data, a network that has read what the run starts from, and what was told."""
    folder.mkdir()
    monkeypatch.chdir(folder)
    prepared = prepare(config)
    told = write_initial_weights(config, prepared, folder)
    torch.manual_seed(99)  # other weights, so that all that is equal was read
    network = prepared.task.build_network(config.model, prepared.codec)
    assert isinstance(network, Seq2Seq)
    read_initial_weights(network, folder)
    return prepared, network, told


def test_pieces_of_both_vocabularies_keep_their_rows_and_other_tensors_are_taken_whole(
    tiny_recipe: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(tiny_recipe, [f"training.init_from={given}"])
    prepared, network, told = started(config, tmp_path / "run", monkeypatch)
    other = load(given)
    assert isinstance(other.network, Seq2Seq)
    assert isinstance(prepared.codec, TextCodec)
    assert isinstance(other.codec, TextCodec)
    own, theirs = prepared.codec.tokenizer.pieces(), other.codec.tokenizer.pieces()
    shared = [piece for piece in own if piece in set(theirs)]
    assert 300 < len(shared) < len(own)
    for piece in shared:
        row, their_row = own.index(piece), theirs.index(piece)
        assert torch.equal(network.src_embedding.weight[row], other.network.src_embedding.weight[their_row])
        assert network.output.bias[row] == other.network.output.bias[their_row]
    for name, weight in other.network.encoder.state_dict().items():
        assert torch.equal(weight, network.encoder.state_dict()[name])
    assert f"{len(shared):,} of {len(own):,} pieces" in told[0]


def test_tensors_of_another_shape_stay_new_and_are_named(
    tiny_recipe: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(tiny_recipe, [f"training.init_from={given}", "model.decoder.hidden_dim=40"])
    _, _, told = started(config, tmp_path / "run", monkeypatch)
    new = {line.removeprefix("  new: ") for line in told[1:]}
    assert "decoder.bridge.weight" in new
    assert not any(name.startswith("encoder") for name in new)


def test_words_start_from_their_vectors_at_the_deviation_of_the_embeddings(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(3)
    vectors = {"the": torch.randn(32) * 5, "is": torch.randn(32) * 5, "notapiece": torch.randn(32)}
    lines = [f"{word} {' '.join(f'{value:.6f}' for value in vector.tolist())}" for word, vector in vectors.items()]
    (tmp_path / "vectors.vec").write_text("\n".join(["3 32", *lines]) + "\n")
    config = load_config(tiny_recipe, [f"training.src_vectors={tmp_path / 'vectors.vec'}"])
    prepared, network, told = started(config, tmp_path / "run", monkeypatch)
    assert isinstance(prepared.codec, TextCodec)
    row = prepared.codec.tokenizer.pieces().index("▁the")
    found, expected = network.src_embedding.weight[row], vectors["the"]
    assert torch.cosine_similarity(found, expected, dim=0) > 0.9999
    assert found.std() < expected.std() / 5
    assert "vectors of 2 of 600 pieces" in told[0]


def test_vectors_of_another_size_name_the_line_and_both_sizes(
    tiny_recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vectors.vec").write_text("the 1 2 3\n")
    config = load_config(tiny_recipe, [f"training.src_vectors={tmp_path / 'vectors.vec'}"])
    with pytest.raises(UserError, match=r"vectors.vec line 1 has 3 numbers but model.embedding_dim is 32"):
        started(config, tmp_path / "run", monkeypatch)
