"""Make a corpus from packages that people already have: cleaned, without duplicates, split into train, dev and test.

homeassistant: interface strings of Home Assistant in two languages (--pair en-de), Apache-2.0, downloaded by pip.
docstrings: bodies of docstrings and their first lines, from the Python packages installed beside recurray.
ddtp: Debian package descriptions in two languages (--pair en-it), or without --pair long English ones and their
  synopses; fetched by apt-get on Debian or Ubuntu.
rfc: bodies of RFCs, which are long, and their abstracts; 480 MB of packages, fetched by apt-get on Debian or Ubuntu.
"""

import argparse
import difflib
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.corpora.made import Corpus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray corpus`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("name", choices=CORPORA, help="which corpus")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--pair", help="source and target language, such as en-de (homeassistant, ddtp)")
    parser.add_argument("--wheel", type=Path, help="the package's file, where it cannot be downloaded (homeassistant)")


def run(arguments: argparse.Namespace) -> int:
    """`recurray corpus`."""
    corpus(arguments.name, arguments.output, pair=arguments.pair, wheel=arguments.wheel)
    return 0


def corpus(name: str, folder: Path, *, pair: str | None = None, wheel: Path | None = None) -> dict[str, Any]:
    """Makes a corpus and prints its source, licence and counts; one that is there is left as it is.

    Returns what its `corpus.yaml` says. UserError where the folder holds something else, or the texts cannot be had.
    """
    import yaml

    from recurray.platform.corpora.made import CORPUS_FILE, write_corpus

    make = _maker(name, pair=pair, wheel=wheel)
    words = ["recurray", "corpus", name, *(["--pair", pair] if pair else []), "--output"]
    command = shlex.join([*words, str(folder)])
    if folder.exists():
        path = folder / CORPUS_FILE
        summary: dict[str, Any] = (yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None) or {}
        # The folder's own name is apart: the same corpus may be named by another path, or have been moved.
        if shlex.split(summary.get("command", ""))[:-1] != words:
            raise UserError(f"{folder} exists and was not made by `{command}`; delete it or name another --output.")
        print(f"{folder} is there already")
    else:
        summary = write_corpus(make(), folder, command)
    _print(summary, folder)
    return summary


def _maker(name: str, **options: Any) -> Callable[[], "Corpus"]:
    if name not in CORPORA:
        near = difflib.get_close_matches(name, CORPORA, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(CORPORA)}."
        raise UserError(f"there is no corpus {name}; {hint}")
    make, takes = CORPORA[name]
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in takes:
            raise UserError(f"the corpus {name} takes no --{option}.")
    return partial(make, **given)


def _homeassistant(pair: str | None = None, wheel: Path | None = None) -> "Corpus":
    from recurray.platform.corpora.homeassistant import make_homeassistant

    return make_homeassistant(pair, wheel)


def _docstrings() -> "Corpus":
    from recurray.platform.corpora.docstrings import make_docstrings

    return make_docstrings()


def _ddtp(pair: str | None = None) -> "Corpus":
    from recurray.platform.corpora.ddtp import make_ddtp

    return make_ddtp(pair)


def _rfc() -> "Corpus":
    from recurray.platform.corpora.rfc import make_rfc

    return make_rfc()


CORPORA: dict[str, tuple[Callable[..., "Corpus"], tuple[str, ...]]] = {
    "homeassistant": (_homeassistant, ("pair", "wheel")),
    "docstrings": (_docstrings, ()),
    "ddtp": (_ddtp, ("pair",)),
    "rfc": (_rfc, ()),
}
"""How each corpus is made, and the options that it takes."""


def _print(summary: dict[str, Any], folder: Path) -> None:
    print(f"corpus   {summary['name']}, in {folder}")
    print(f"source   {summary['source']}")
    print(f"licence  {summary['licence']}")
    for split, count in summary["rows"].items():
        print(f"{split:<8} {count:>7,}")
    for reason, count in summary["dropped"].items():
        print(f"left out {count:>7,}  {reason}")
