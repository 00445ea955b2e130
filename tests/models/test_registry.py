"""The registries: what ships is found, what an extension adds is found too, and nothing is taken twice."""

import subprocess
import sys

import pytest

from recurray.models.attention.attention import Attention
from recurray.models.blocks.block import Block
from recurray.models.cells.cell import Cell
from recurray.models.cells.lstm import LSTM
from recurray.models.decoders.decoder import Decoder
from recurray.models.registry import ATTENTIONS, BLOCKS, CELLS, DECODERS, Registry

SHIPPED = [
    (CELLS, Cell, ["lstm", "gru", "rnn", "peephole", "lnlstm"]),
    (BLOCKS, Block, ["transformer", "pyramid"]),
    (ATTENTIONS, Attention, ["additive", "dot", "general", "multi_head"]),
    (DECODERS, Decoder, ["recurrent", "transformer"]),
]
NAMES = [(registry, parent, name) for registry, parent, names in SHIPPED for name in names]


@pytest.fixture
def registry() -> Registry[type]:
    return Registry("cell", {"lstm": "recurray.models.cells.lstm:LSTM"})


@pytest.mark.parametrize(("registry", "parent", "name"), NAMES)
def test_a_shipped_name_stands_for_a_class_of_its_kind(registry: Registry[type], parent: type, name: str) -> None:
    assert issubclass(registry[name], parent)


@pytest.mark.parametrize(("registry", "names"), [(registry, names) for registry, _, names in SHIPPED])
def test_the_shipped_names_are_known_and_each_stands_for_another_class(
    registry: Registry[type], names: list[str]
) -> None:
    assert registry.names()[: len(names)] == names
    assert len({registry[name] for name in names}) == len(names)


def test_what_is_registered_is_found_beside_what_ships(registry: Registry[type]) -> None:
    @registry.register("mine")
    class Mine:
        pass

    assert registry["mine"] is Mine
    assert registry["lstm"] is LSTM
    assert registry.names() == ["lstm", "mine"]
    assert "mine" in registry


@pytest.mark.parametrize("looked_up", [False, True])
def test_a_name_that_ships_cannot_be_registered(registry: Registry[type], looked_up: bool) -> None:
    if looked_up:
        assert registry["lstm"] is LSTM
    with pytest.raises(ValueError, match="there is a cell `lstm` already"):
        registry.register("lstm")
    assert registry["lstm"] is LSTM
    assert registry.names() == ["lstm"]


def test_a_registered_name_cannot_be_registered_again(registry: Registry[type]) -> None:
    registry.register("mine")(int)
    with pytest.raises(ValueError, match="there is a cell `mine` already"):
        registry.register("mine")
    assert registry["mine"] is int


def test_an_unknown_name_is_in_no_registry(registry: Registry[type]) -> None:
    assert "lstn" not in registry
    with pytest.raises(KeyError, match="lstn"):
        registry["lstn"]


def test_the_names_are_known_without_pytorch() -> None:
    program = (
        "import sys; from recurray.models.registry import CELLS; assert CELLS.names(); print('torch' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
