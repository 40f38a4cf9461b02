"""Command line of the test clusters: see `python -m tests.cluster --help`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from tests.cluster import local
from tests.cluster.cluster import chosen, to_stderr
from tests.cluster.errors import ClusterError
from tests.cluster.made import packages
from tests.cluster.paths import clusters
from tests.cluster.plane import build
from tests.cluster.spec import STATE, Spec, read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DEFAULT_NAME = "lastgood"
EPILOG = """examples:
  python -m tests.cluster up --pods                   an API server, and pods that pretend
  python -m tests.cluster up --profile node           a real node with real pods (root on Debian or Ubuntu)
  export KUBECONFIG=$(python -m tests.cluster kubeconfig)
  export PATH=$(python -m tests.cluster build):$PATH   kubectl, helm, etcd, ...
  python -m tests.cluster down --all                  also removes what crashed clusters left

environment:
  LASTGOOD_CACHE          where programs, images and running clusters live (default: ~/.cache/lastgood)
  LASTGOOD_CLUSTER_LOGS   a folder that keeps the logs of clusters that are gone
  LASTGOOD_CLUSTER        local (default), kind or current: what the tests use; this command makes local ones
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Do what the command line says; return the exit code."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        _require_local()
        run(arguments)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  # a command line prints
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster",
        description="Real Kubernetes clusters on this machine, without Docker: for tests, demos and looking around.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    start = _command(commands, "up", _up, "start a cluster that lives until `down`; print its kubeconfig's path")
    start.add_argument("--profile", choices=local.PROFILES, default="control-plane", help="default: %(default)s")
    start.add_argument("--pods", action="store_true", help="scheduler and kwok: pods become Ready without running")
    end = _command(commands, "down", _down, "take a cluster down, and sweep up after crashed ones")
    end.add_argument("--all", action="store_true", help="every cluster, whoever started it")
    named = (start, end, _command(commands, "kubeconfig", _kubeconfig, "print the path of a cluster's kubeconfig"))
    for command in named:
        command.add_argument("--name", default=DEFAULT_NAME, help="default: %(default)s")
    _command(commands, "list", _list, "list the clusters: name, profile, phase, URL")
    _command(commands, "build", _build, "build the programs; print their folder, which is good for PATH")
    _command(commands, "install", _install, "install the Debian packages that a node and images need")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    run: Callable[[argparse.Namespace], None],
    text: str,
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=text)
    command.set_defaults(run=run)
    return command


def _require_local() -> None:
    if chosen() != "local":
        raise ClusterError("this command makes local clusters; unset LASTGOOD_CLUSTER")


def _up(arguments: argparse.Namespace) -> None:
    cluster = local.up(
        name=arguments.name,
        profile=arguments.profile,
        pods=arguments.pods,
        owner=None,
        progress=to_stderr,
    )
    _say(cluster.kubeconfig)


def _down(arguments: argparse.Namespace) -> None:
    for name in local.names() if arguments.all else [arguments.name]:
        local.down(name)
    local.sweep()


def _kubeconfig(arguments: argparse.Namespace) -> None:
    _say(local.find(arguments.name).kubeconfig)


def _list(_arguments: argparse.Namespace) -> None:
    for name in local.names():
        directory = clusters() / name
        spec, phase = Spec.load(directory), read_json(directory / STATE).get("phase", "starting")
        _say(f"{name}\t{spec.profile}\t{phase}\t{spec.addresses.url if spec.addresses else '-'}")


def _build(_arguments: argparse.Namespace) -> None:
    _say(build.programs(to_stderr))


def _install(_arguments: argparse.Namespace) -> None:
    packages.require((*packages.NODE, *packages.IMAGES), to_stderr)


def _say(text: object) -> None:
    print(text)  # noqa: T201  # a command line prints


if __name__ == "__main__":
    sys.exit(main())
