"""Start, show and end a Ray cluster on this machine, with token authentication and bound to loopback."""

import argparse
import shlex
import time

from recurray.cluster import local
from recurray.cluster.local import LocalCluster


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `recurray cluster`."""
    actions = parser.add_subparsers(dest="action", required=True)
    up = actions.add_parser("up", help="start the cluster")
    up.add_argument("--cpus", type=int, metavar="N", help="CPUs that it may give out (default: all of the machine's)")
    actions.add_parser("down", help="end the cluster: its own processes and no others")
    actions.add_parser("status", help="show the cluster; exit status 1 if none is up")


def run(arguments: argparse.Namespace) -> int:
    """`recurray cluster`."""
    if arguments.action == "up":
        return up(arguments.cpus)
    return down() if arguments.action == "down" else status()


def up(cpus: int | None = None) -> int:
    """Starts the local cluster, or says that it is up already; returns 0 either way."""
    began = time.monotonic()
    there = local.status()
    cluster = there or local.up(cpus)
    how = "is already up" if there else f"is up after {time.monotonic() - began:.0f} s"
    print(f"the local cluster {how}\n{_description(cluster)}")
    return 0


def down() -> int:
    """Ends the local cluster, or says that there was none; returns 0 either way."""
    ended = local.down()
    print(f"the local cluster at {ended.address} has ended" if ended else "no local cluster was up")
    return 0


def status() -> int:
    """Shows the local cluster; returns 1 if none is up."""
    cluster = local.status()
    print(_description(cluster) if cluster else "no local cluster is up; `recurray cluster up` starts one")
    return 0 if cluster else 1


def _description(cluster: LocalCluster) -> str:
    variables = {"RAY_ADDRESS": cluster.address, **cluster.environment}
    exports = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(cluster.head.started))
    return "\n".join(
        [
            f"  Jobs API and dashboard  {cluster.address}",
            f"  for ray.init            {cluster.gcs_address}",
            f"  token                   {cluster.token_path}",
            f"  head process            {cluster.head.pid}, since {since}",
            f"  variables of Ray's      export {exports}",
            "  to run a job on it      recurray submit train RECIPE",
        ]
    )
