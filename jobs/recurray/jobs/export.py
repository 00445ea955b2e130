"""Export a model as two programs of TorchScript that run without recurray, in float or in 8 bits."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray export`."""
    parser.add_argument("model", help="a saved model's folder or URI, such as runs/NAME/model")
    parser.add_argument("--output", required=True, metavar="DIR", help="the folder to write")
    parser.add_argument("--int8", action="store_true", help="round weights to 8 bits, as in search with --int8")


def run(arguments: argparse.Namespace) -> int:
    """`recurray export`."""
    from recurray.platform.exporting import SCRIPT_FILE, export

    found = export(arguments.model, Path(arguments.output), int8=arguments.int8)
    print(
        f"{arguments.output}: {found.megabytes:.1f} MB, programs within {found.largest_difference:.1e} of the model's "
        f"log-probabilities; try: python {arguments.output}/{SCRIPT_FILE} < sources.txt"
    )
    return 0
