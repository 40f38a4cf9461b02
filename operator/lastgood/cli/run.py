"""`lastgood run`: the operator itself, in a pod or on a desk."""

import argparse
import asyncio
import contextlib
import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

import uvloop

from lastgood.cli.parser import Parser
from lastgood.controller.reconciler import Reconciler
from lastgood.controller.runtime import Parts, Runtime
from lastgood.errors import BrokenError, TerminalError
from lastgood.kube.api.connection import Connection
from lastgood.settings import ALL_NAMESPACES, NAMES, Settings, SettingsError, complete, parsed
from lastgood.signals.hosts import DEFAULT_DOMAIN, parse_rules

LOG_FORMAT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_USAGE_ERROR: Final = 2
_LEVELS: Final = ("debug", "info", "warning", "error")


def main(argv: Sequence[str]) -> int:
    """Run until a signal; 0 after one, 1 if a part broke, 2 if a setting cannot be used."""
    arguments = parser().parse_args(argv)
    _configure_logging(arguments.log_level)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # a tenth less from annotation to switch
            runner.run(serve(arguments))
    except TerminalError as error:
        print(f"lastgood run: {error}", file=sys.stderr)
        return _USAGE_ERROR
    except BrokenError:
        logging.getLogger(__name__).exception("ended")
        return 1
    return 0


async def serve(arguments: argparse.Namespace) -> None:
    """Read the settings, find the cluster, and live: a wrong option is told also where there is no cluster."""
    chosen = checked(parsed(flags=flags(arguments)))
    connection = await Connection.open(arguments.kubeconfig)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(connection.close)
        settings = complete(chosen, default_namespace=connection.namespace)
        threading.Thread(target=warn, args=(settings,), daemon=True).start()  # a dead mount may never answer
        await Runtime(connection, settings, reconciler).run()


def checked(chosen: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what was chosen, unless the list of hosts has an entry that is none.

    Raises:
        SettingsError: it names the entry.
    """
    try:
        parse_rules(chosen.get("trigger_hosts", ()), chosen.get("cluster_domain", DEFAULT_DOMAIN))
    except ValueError as error:
        raise SettingsError(f"{NAMES['trigger_hosts']}: {error}") from None
    return chosen


def warn(settings: Settings) -> None:
    """Say what is probably a mistake, and may still come right: a store can be mounted later."""
    if settings.store and not os.path.isdir(settings.store):  # noqa: PTH112  # `is_dir` raises for a stale mount
        what = f"{settings.store} is not a directory; snapshots in it are unreadable until it exists"
        logging.getLogger(__name__).warning("%s: %s", NAMES["store"], what)


def reconciler(parts: Parts) -> Reconciler:
    """Make the reconciler out of the parts."""
    return Reconciler(
        client=parts.client,
        cache=parts.cache,
        queue=parts.queue,
        quarantine=parts.quarantine,
        remembered=parts.remembered,
        trust=parts.trust,
        notices=parts.notices,
        calm=parts.calm,
        settings=parts.settings,
        memory=parts.memory,
    )


def flags(arguments: argparse.Namespace) -> dict[str, str | None]:
    """Return what the command line says, by the names of the settings."""
    namespaces = [ALL_NAMESPACES] if arguments.all_namespaces else arguments.namespace
    return {
        "namespaces": ",".join(namespaces) if namespaces else None,
        "operator_namespace": arguments.operator_namespace,
        "store": arguments.store,
        "image": arguments.image,
        "reverify_interval": arguments.reverify_interval,
        "liveness": arguments.liveness,
        "metrics": arguments.metrics,
        "lease_seconds": arguments.lease_seconds,
        "verify_rate": arguments.verify_rate,
        "scratch": arguments.scratch,
        "scratch_bytes": arguments.scratch_bytes,
        "capture_claim": arguments.capture_claim,
        "scanners": ",".join(arguments.scanner) if arguments.scanner else None,
        "retain_last": arguments.retain_last,
        "retain_bytes": arguments.retain_bytes,
        "retain_apply": "true" if arguments.retain_apply else None,
        "trigger_hosts": ",".join(arguments.trigger_host) if arguments.trigger_host else None,
        "cluster_domain": arguments.cluster_domain,
        "allow_loopback": "true" if arguments.allow_loopback else None,
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of this command's flags."""
    found = Parser(
        prog="lastgood run",
        description="Run the operator. A flag wins over its variable; --kubeconfig and --log-level have none.",
    )
    where = found.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", action="append", metavar="NS", help="a namespace to watch; may be repeated")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="watch all namespaces (needs a ClusterRole)")
    add = found.add_argument
    add("--operator-namespace", metavar="NS", help="the namespace of the Lease and the quarantine ConfigMap")
    add("--kubeconfig", metavar="FILE", help="the kubeconfig; a pod uses its service account")
    add("--store", metavar="DIR", help="the snapshot store, the root of `source.store` paths")
    add("--image", metavar="IMAGE", help="this operator's image, for the Jobs that verify claims")
    add("--reverify-interval", metavar="DURATION", help="how often each snapshot is hashed again (1h)")
    add("--liveness", metavar="HOST:PORT", help="the address of /healthz and /readyz; '' for none")
    add("--metrics", metavar="HOST:PORT", help="the address of /metrics for Prometheus (none)")
    add("--lease-seconds", metavar="SECONDS", help="the Lease duration: a standby takes over after it (6)")
    add("--verify-rate", metavar="BYTES", help="the most bytes a second for routine verification (256Mi; 0: no limit)")
    add("--scratch", metavar="DIR", help="the directory for remote checkpoints during a scan")
    add("--capture-claim", metavar="CLAIM", help="the store claim of each namespace, for captures of claims by a Job")
    add("--scanner", action="append", metavar="NAME=IMAGE", help="an external scanner that policies may name; up to 8")
    add("--scratch-bytes", metavar="BYTES", help="the most bytes in --scratch (0: no limit)")
    add("--retain-last", metavar="N", help="report copies in the store beyond the N newest of a model (0: no limit)")
    add("--retain-bytes", metavar="BYTES", help="report copies in the store beyond N bytes of a model (0: no limit)")
    add("--retain-apply", action="store_true", help="delete reported copies, an hour or more later")
    add(
        "--trigger-host",
        action="append",
        metavar="HOST[:PORT]",
        help="a host, *.SUFFIX, address or range that triggers and checks may call besides Services of their "
        "namespace; may be repeated",
    )
    add("--cluster-domain", metavar="DOMAIN", help="the DNS domain of the cluster (cluster.local)")
    add("--allow-loopback", action="store_true", help="allow triggers and checks to call this machine")
    add("--log-level", choices=_LEVELS, default="info", help="for stderr; the security log on stdout is not affected")
    return found


def _configure_logging(level: str) -> None:
    """Send ordinary logs to stderr; stdout carries the security log and nothing else."""
    logging.basicConfig(stream=sys.stderr, level=level.upper(), format=LOG_FORMAT)
    logging.getLogger("kopf").setLevel(max(logging.WARNING, logging.getLogger().level))
