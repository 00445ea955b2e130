"""Recipes: a file, or the name of one that ships with recurray."""

import difflib
from importlib.resources import files
from pathlib import Path

from recurray.platform.errors import UserError


def find_recipe(name: str) -> Path:
    """The recipe's file: `name` itself if it is a file, else a shipped recipe; UserError that lists them if neither."""
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_recipes()
    if name in shipped:
        return shipped[name]
    near = difflib.get_close_matches(name, shipped, n=1)
    hint = f"did you mean `{near[0]}`?" if near else f"shipped recipes are {', '.join(shipped)}."
    raise UserError(f"{name} is neither a file nor a shipped recipe; {hint}")


def shipped_recipes() -> dict[str, Path]:
    """The recipes that ship with recurray, by name: in the package once installed, in `jobs/recipes` of a checkout."""
    package = Path(str(files("recurray.jobs").joinpath("recipes")))
    folder = package if package.is_dir() else Path(__file__).parents[2] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
