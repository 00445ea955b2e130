from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml

from recurray.platform.config.loading import load_config
from recurray.platform.config.tree import RunConfig
from recurray.platform.corpora.readers import Pair
from recurray.platform.data import examples as examples_module
from recurray.platform.data import store as store_module
from recurray.platform.data.cleaning import clean_texts
from recurray.platform.data.examples import block_totals, longest_of
from recurray.platform.data.preparing import identity, prepare
from recurray.platform.data.store import Store, StoreWriter
from recurray.platform.errors import UserError
from recurray.platform.tasks.text import tokenizer_of

EXAMPLES = [([5, 6, 3], [9, 3]), ([7, 3], [8, 8, 8, 3]), ([4, 4, 4, 4, 3], [3]), ([3], [6, 3])]


@pytest.fixture(params=[6, 100], ids=["several shards", "one shard"])
def shard_positions(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SHARD_POSITIONS", request.param)


@pytest.fixture
def store(shard_positions: None, tmp_path: Path) -> Store:
    with StoreWriter(tmp_path / "s.arrow", pa.int32(), pa.int32()) as writer:
        for src, tgt in EXAMPLES:
            writer.append(src, tgt)
    return Store(tmp_path / "s.arrow")


def test_examples_come_back_in_any_order_padded_to_the_longest(store: Store) -> None:
    order = np.array([2, 0, 3])
    assert store.src.gather(order).tolist() == [[4, 4, 4, 4, 3], [5, 6, 3, 0, 0], [3, 0, 0, 0, 0]]
    assert store.tgt.gather(order).tolist() == [[3, 0], [9, 3], [6, 3]]
    assert len(store) == 4


def test_lengths_are_read_alone_and_in_runs(store: Store) -> None:
    lengths = store.tgt.lengths
    assert lengths[np.array([3, 1, 1, 0])].tolist() == [2, 4, 4, 2]
    for begin in range(len(EXAMPLES) + 1):
        for end in range(begin, len(EXAMPLES) + 2):
            assert lengths[begin:end].tolist() == [2, 4, 1, 2][begin:end]
    assert lengths[:].dtype == lengths[np.array([0])].dtype == np.int64
    with pytest.raises(ValueError, match="consecutive"):
        lengths[::2]


@pytest.mark.parametrize("run", [4, 100], ids=["several runs", "one run"])
def test_what_a_pass_over_all_lengths_finds(run: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples_module, "RUN", run)
    lengths = np.array([3, 1, 2, 5, 4, 7, 7, 1, 6])
    totals, longest = block_totals(lengths, 2)
    assert totals.tolist() == [4, 7, 11, 8, 6]
    assert longest == 7
    assert longest_of(lengths) == 5


def test_vectors_come_back_padded_with_zeros(shard_positions: None, tmp_path: Path) -> None:
    frames = [[[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]], [[4.0, 4.5]], [[5.0, 5.5], [6.0, 6.5]]]
    with StoreWriter(tmp_path / "s.arrow", pa.list_(pa.float32(), 2), pa.int32()) as writer:
        for index, src in enumerate(frames):
            writer.append([np.float32(frame) for frame in src], [index])
    found = Store(tmp_path / "s.arrow").src.gather(np.array([2, 0]))
    assert found.dtype == np.float32
    assert found.tolist() == [[*frames[2], [0.0, 0.0]], frames[0]]


def test_every_pair_that_is_left_out_is_counted_under_its_reason() -> None:
    pairs = [Pair("a", "b"), Pair("a", "b"), Pair(" ", "b"), Pair("a", ""), Pair("\udcff", "b"), Pair("a", "c")]
    dropped: Counter[str] = Counter()
    assert list(clean_texts(pairs, dropped)) == [Pair("a", "b"), Pair("a", "c")]
    assert dropped == {"duplicate pair": 1, "empty side": 2, "invalid UTF-8": 1}


@pytest.fixture
def config(tmp_path: Path, tiny_recipe: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A recipe over files of its own, which a test may change."""
    monkeypatch.chdir(tmp_path)
    tree = yaml.safe_load(tiny_recipe.read_text())
    for split, sources in (("train", tree["data"]["train"]), ("dev", [tree["data"]["dev"]])):
        for side in ("src", "tgt"):
            path = tmp_path / f"{split}.{side}"
            path.write_bytes(Path(sources[0][side]).read_bytes())
            sources[0][side] = path.name
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tree))
    return load_config(tmp_path / "recipe.yaml")


def test_preparing_twice_does_nothing_and_a_changed_text_or_setting_prepares_anew(config: RunConfig) -> None:
    first = prepare(config)
    written = (first.folder / "train.arrow").stat().st_mtime_ns
    assert prepare(config).folder == first.folder
    assert (first.folder / "train.arrow").stat().st_mtime_ns == written
    smaller = config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update={"vocab_size": 500})})
    assert identity(smaller) != identity(config)
    with Path("train.src").open("a") as src, Path("train.tgt").open("a") as tgt:
        src.write("A new line\n")
        tgt.write("Eine neue Zeile\n")
    again = prepare(config)
    assert again.folder != first.folder
    assert again.counts.read == first.counts.read + 1


def test_counts_add_up_and_the_store_holds_what_they_say(config: RunConfig) -> None:
    prepared = prepare(config)
    counts = prepared.counts
    assert counts.read == counts.kept + sum(counts.dropped.values()) == 1500
    assert len(prepared.train) == counts.kept
    assert int(prepared.train.tgt.lengths[:].sum()) == counts.tgt_pieces


def test_nothing_that_was_half_written_is_left(config: RunConfig) -> None:
    Path("train.src").write_bytes(b"")
    Path("train.tgt").write_bytes(b"")
    with pytest.raises(UserError):
        prepare(config)
    assert list(Path("data/prepared").iterdir()) == []


def test_a_vocabulary_that_the_texts_cannot_fill_names_the_key(config: RunConfig) -> None:
    large = config.model_copy(update={"tokenizer": config.tokenizer.model_copy(update={"vocab_size": 50_000})})
    with pytest.raises(UserError, match=r"tokenizer\.vocab_size 50000"):
        prepare(large)


def test_every_text_comes_back_from_its_pieces(config: RunConfig) -> None:
    tokenizer = tokenizer_of(prepare(config).codec)
    texts = ["Türsensor öffnen", "never seen: 漢字 🙂", "{entity_name} is…"]
    assert tokenizer.decode([pieces[:-1] for pieces in tokenizer.encode(texts)]) == texts
