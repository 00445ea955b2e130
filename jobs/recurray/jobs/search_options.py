"""The options of `translate` and `summarize` that say how results are searched."""

import argparse
from typing import TYPE_CHECKING, Any

from recurray.platform.errors import UserError

if TYPE_CHECKING:
    from recurray.platform.config.search import SearchConfig

_SEARCH: dict[str, tuple[str, Any, str]] = {
    "--beam": ("beam_size", int, "hypotheses kept a text; 1 is greedy"),
    "--n-best": ("n_best", int, "results a text, the best first"),
    "--length-penalty": ("length_penalty", float, "GNMT's α; 0 prefers short results"),
    "--coverage-penalty": ("coverage_penalty", float, "GNMT's β; 0.2 is usual"),
    "--min-length": ("min_length", int, "the fewest pieces of a result"),
    "--min-length-factor": ("min_length_factor", float, "and the fewest as a multiple of the source's"),
    "--max-length": ("max_length", int, "the most pieces of a result"),
    "--max-length-factor": (
        "max_length_factor",
        float,
        "and the most as a multiple of the source's pieces, and 10 more",
    ),
    "--no-repeat-ngram": ("no_repeat_ngram", int, "no sequence of this many pieces comes twice; 0 for no such rule"),
}
_SAMPLING: dict[str, tuple[str, Any, str]] = {
    "--sample": ("seed", int, "draw results with this seed instead of searching the best"),
    "--temperature": ("temperature", float, "below 1 likely pieces become likelier"),
    "--top-k": ("top_k", int, "draw among this many of the likeliest pieces"),
    "--top-p": ("top_p", float, "draw among the fewest pieces that have this share of the probability"),
}


def add_search_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that replace the model's own settings."""
    search = parser.add_argument_group("search", "instead of what the model's config.yaml says")
    for option, (key, kind, text) in _SEARCH.items():
        search.add_argument(option, dest=key, type=kind, metavar="N" if kind is int else "X", help=text)
    search.add_argument("--forbid", dest="forbidden", action="append", metavar="PIECE", help="a piece that never comes")
    search.add_argument(
        "--force", dest="forced", action="append", metavar="PIECE", help="a piece that each result holds"
    )
    search.add_argument("--alignments", action="store_true", default=None, help="find each piece's place in the source")
    for option, (key, kind, text) in _SAMPLING.items():
        search.add_argument(option, dest=f"sampling_{key}", type=kind, metavar="N" if kind is int else "X", help=text)


def search_of(arguments: argparse.Namespace, own: "SearchConfig") -> "SearchConfig":
    """The model's own settings with those that were given; UserError names an option that will not do."""
    from pydantic import ValidationError

    options = {key: option for option, (key, _, _) in _SEARCH.items()} | {
        "forbidden": "--forbid",
        "forced": "--force",
        "alignments": "--alignments",
    }
    given = {key: getattr(arguments, key) for key in options if getattr(arguments, key) is not None}
    drawn = {key: getattr(arguments, f"sampling_{key}") for key, _, _ in _SAMPLING.values()}
    drawn = {key: value for key, value in drawn.items() if value is not None}
    if drawn and "seed" not in drawn and own.sampling is None:
        raise UserError("--temperature, --top-k and --top-p are for drawn results; add --sample SEED.")
    options |= {key: option for option, (key, _, _) in _SAMPLING.items()}
    sampling = {**(own.sampling.model_dump() if own.sampling else {}), **drawn}
    merged = own.model_dump() | given | ({"sampling": sampling} if sampling else {})
    try:
        return type(own).model_validate(merged)
    except ValidationError as fault:
        first = fault.errors()[0]
        if not first["loc"]:  # of several keys together
            raise UserError(f"{first['msg']}; give --beam, --n-best, --forbid and --force that go together.") from None
        key = str(first["loc"][-1])
        raise UserError(f"{options.get(key, key)} {first['input']}: {first['msg']}.") from None
