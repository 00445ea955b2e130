"""The Weights & Biases workspace over what runs log: `show` prints it, `apply` makes it."""

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray dashboards`."""
    parser.add_argument("action", choices=("show", "apply"), help="print the workspace, or save it in W&B")
    parser.add_argument("--project", default="recurray", help="the W&B project (default: recurray)")
    parser.add_argument("--entity", help="the user or team (default: your own)")


def run(arguments: argparse.Namespace) -> int:
    """`recurray dashboards`."""
    from recurray.platform.tracking.dashboards import apply_workspace, describe, make_workspace

    if arguments.action == "show":
        print(describe(make_workspace(arguments.entity or "(your entity)", arguments.project)))
    else:
        print(apply_workspace(arguments.entity, arguments.project))
    return 0
