"""Average the weights of a run's last or best checkpoints into a model of its own."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from recurray.platform.config.checkpoints import CheckpointsConfig
    from recurray.platform.training.checkpoint_store import CheckpointStore
    from recurray.platform.training.manifest import Manifest

Which = Literal["last", "best"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray average`."""
    parser.add_argument("run", help="a run's name, or its folder")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--last", type=int, metavar="N", help="average the N newest checkpoints")
    which.add_argument("--best", type=int, metavar="N", help="average the N checkpoints whose last validation was best")
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write the model to")


def run(arguments: argparse.Namespace) -> int:
    """`recurray average`."""
    named, output = Path(arguments.run), Path(arguments.output)
    folder = named if named.is_dir() else Path("runs") / arguments.run
    which: Which = "last" if arguments.last is not None else "best"
    steps = average(folder, output, which, getattr(arguments, which))
    print(f"{output}: the mean of the weights at steps {_listed(steps)}; it has not been validated")
    return 0


def average(folder: Path, output: Path, which: Which, count: int) -> list[int]:
    """Writes the mean of the last or best `count` checkpoints of the run in `folder`; returns their steps.

    Of a run with a moving average it is the mean of that. Raises UserError where there are not so many checkpoints,
    where one is damaged, where the run has no model yet, and where `output` holds something else than a model.
    """
    from recurray.platform.config.loading import load_config
    from recurray.platform.saved_model import CARD_FILE, load, save
    from recurray.platform.storage import reason_of
    from recurray.platform.training.average import mean_of
    from recurray.platform.training.checkpoint_store import CheckpointStore, DamagedError

    _check_output(output, folder)
    config = load_config(folder / "config.yaml")
    model = load(folder / "model")
    store = CheckpointStore.of(config, folder)
    try:
        steps = _choose(store, config.checkpoints, which, count)
        model.network.load_state_dict(mean_of(_weights(store, steps)))
    except DamagedError as fault:
        raise UserError(f"{fault}; put it back from a copy, or average fewer checkpoints.") from None
    except OSError as fault:
        raise UserError(
            f"the checkpoints in {store.place} cannot be read ({reason_of(fault)}); check the address and your access "
            "to it."
        ) from None
    save(output, model, _card(config.name, steps, (folder / "model" / CARD_FILE).read_text(encoding="utf-8")))
    return steps


def _check_output(output: Path, folder: Path) -> None:
    from recurray.platform.saved_model import WEIGHTS_FILE

    if output.resolve() == (folder / "model").resolve():
        raise UserError(f"--output {output} is the run's best model, which would be lost; name another folder.")
    if output.exists() and not (output / WEIGHTS_FILE).is_file():
        raise UserError(f"--output {output} is there and is no saved model; name another folder.")


def _choose(store: "CheckpointStore", config: "CheckpointsConfig", which: Which, count: int) -> list[int]:
    from recurray.platform.training.checkpoints import kept

    if count < 1:
        raise UserError(f"--{which} {count} is no number of checkpoints; ask for 1 or more.")
    found = [manifest for manifest in _manifests(store) if which == "last" or manifest.score is not None]
    if len(found) < count:
        validated = "" if which == "last" else " with a validation before them"
        raise UserError(
            f"{store.place} holds {len(found)} checkpoints{validated}, fewer than --{which} {count}; train with "
            f"checkpoints.keep_{which}={count} (it is {getattr(config, f'keep_{which}')}) so that as many are kept, "
            f"checkpoints.every ({config.every}) steps apart, or ask for fewer."
        )
    return sorted(kept(found, count, 0) if which == "last" else kept(found, 0, count))


def _manifests(store: "CheckpointStore") -> Iterator["Manifest"]:
    from recurray.platform.training.checkpoint_store import UnfinishedError

    for step in store.steps():
        try:
            yield store.manifest(step)
        except UnfinishedError:  # the run may be writing it
            continue


def _weights(store: "CheckpointStore", steps: list[int]) -> Iterator["dict[str, Tensor]"]:
    for step in steps:
        state = store.read(step).state
        yield state.get("average", state["network"])


def _card(name: str, steps: list[int], card: str) -> str:
    return (
        f"# {name}: mean of the weights at steps {_listed(steps)}\n\n"
        "Made by `recurray average`. This model has not been validated. What follows is the card of the run's best "
        "model, which has the same network and was trained on the same data; its scores are not this one's.\n\n"
        f"{card}"
    )


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps))
