"""Write one HTML page about a run, with the plots of the W&B workspace: `runs/NAME/report.html`."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray report`."""
    parser.add_argument("run", help="a run's name, or its folder")


def run(arguments: argparse.Namespace) -> int:
    """`recurray report`."""
    folder = Path(arguments.run)
    print(report(folder if folder.is_dir() else Path("runs") / arguments.run))
    return 0


def report(folder: Path) -> Path:
    """Writes the page of the run in `folder` and returns it; UserError where there is no run."""
    from recurray.platform.tracking.report import write_report

    return write_report(folder)
