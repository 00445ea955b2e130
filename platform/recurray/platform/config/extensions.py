"""Extensions: modules of the user's own that add cells, blocks, decoders, tasks and the like when imported."""

import importlib
import sys
from pathlib import Path
from typing import Any

from recurray.platform.errors import UserError


def load_extensions_of(tree: Any) -> Any:
    """Imports the modules that a configuration names under `extensions`, and returns the configuration.

    It comes before anything else is read, since what they add may be named further down. They may also lie in the
    working directory. UserError where one cannot be imported.
    """
    modules = tree.get("extensions") if isinstance(tree, dict) else None
    here = str(Path.cwd())
    for module in modules if isinstance(modules, list) else []:
        if here not in sys.path:
            sys.path.append(here)
        try:
            importlib.import_module(str(module))
        except (ImportError, SyntaxError, ValueError) as fault:
            raise UserError(
                f"extensions: {module} could not be imported ({fault}); expected a Python module that is installed or "
                "lies in the working directory."
            ) from None
    return tree
