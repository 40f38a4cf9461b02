"""`kubectl lastgood`: the verbs for people on call; each reads, or writes one annotation that anyone could write."""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from lastgood import __version__
from lastgood.api.names import EMERGENCY, QUARANTINE, RESUME, ROLLBACK
from lastgood.cli import parser, tables
from lastgood.cli.cluster import DEPLOYMENTS, SNAPSHOTS, Cluster, ClusterError
from lastgood.cli.parser import Exit, Parser, UsageError

_MAX_TEXT: Final = 900  # of the 1024 that a record keeps of a reason
_PREFIX = re.compile(r"\s*(to|before)\s*=")
Verb = Callable[[Cluster, argparse.Namespace], str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code: 0 done, 1 the API server refused, 2 wrong usage."""
    args = build().parse_args(argv)
    verb: Verb = args.verb
    try:
        cluster = Cluster(kubeconfig=args.kubeconfig, context=args.context, namespace=args.namespace)
        print(verb(cluster, args))
    except UsageError as error:
        return _fail(str(error), Exit.USAGE)
    except ClusterError as error:
        return _fail(str(error), Exit.REFUSED)
    except KeyboardInterrupt:
        return _fail("stopped", 130)
    return Exit.OK


def _fail(sentence: str, code: int) -> int:
    print(f"kubectl lastgood: {sentence}", file=sys.stderr)
    return code


def status(cluster: Cluster, args: argparse.Namespace) -> str:
    """Show what serves, whether it is healthy, and what a rollback would go back to."""
    if args.name:
        body = cluster.get(DEPLOYMENTS, args.name)
        overview = tables.table(tables.STATUS, [tables.status_row(body, _now())])
        return f"{overview}\n\n{tables.table(tables.CONDITIONS, tables.condition_rows(body), widest=300)}"
    bodies = cluster.find_all(DEPLOYMENTS, everywhere=args.all_namespaces)
    if not bodies:
        return "no modeldeployments" if args.all_namespaces else f"no modeldeployments in {cluster.namespace}"
    header = ("NAMESPACE", *tables.STATUS) if args.all_namespaces else tables.STATUS
    rows = [tables.status_row(body, _now(), namespaced=args.all_namespaces) for body in bodies]
    return tables.table(header, rows)


def history(cluster: Cluster, args: argparse.Namespace) -> str:
    """Show what a ModelDeployment served, and its rollbacks."""
    body = cluster.get(DEPLOYMENTS, args.name)
    served = tables.table(tables.HISTORY, tables.history_rows(body, _now()))
    rollbacks = tables.table(tables.ROLLBACKS, tables.rollback_rows(body, _now()))
    return f"{served}\n\n{rollbacks}"


def rollback(cluster: Cluster, args: argparse.Namespace) -> str:
    """Ask for a normal rollback."""
    reason = _reason([args.reason])
    if _PREFIX.match(reason):
        raise UsageError("--reason: begins with 'to=' or 'before=', which the operator would obey; use --to")
    value = f"to={args.to}: {reason}" if args.to else reason
    cluster.annotate(DEPLOYMENTS, args.name, ROLLBACK, _at_this_time(value))
    target = args.to or "the last known-good snapshot"
    return f"asked to roll {args.name} back to {target}\n{_watch(cluster, 'modelrollbacks')}"


def emergency(cluster: Cluster, args: argparse.Namespace) -> str:
    """Ask for an emergency rollback; the text goes as it is, because nothing in it may stop a rollback."""
    value = _at_this_time(" ".join(args.incident)[:_MAX_TEXT])
    cluster.annotate(DEPLOYMENTS, args.name, EMERGENCY, value)
    return f"asked for an emergency rollback of {args.name}\n{_watch(cluster, 'modelrollbacks')}"


def quarantine(cluster: Cluster, args: argparse.Namespace) -> str:
    """Ask to quarantine a snapshot's digest."""
    cluster.annotate(SNAPSHOTS, args.snapshot, QUARANTINE, _at_this_time(_reason(args.reason)))
    said = f"asked to quarantine the digest of {args.snapshot} in namespace {cluster.namespace}"
    return f"{said}; what serves it rolls back\n{_watch(cluster, 'modelsnapshots,modelrollbacks')}"


def resume(cluster: Cluster, args: argparse.Namespace) -> str:
    """Let go of a hold."""
    cluster.annotate(DEPLOYMENTS, args.name, RESUME, _at_this_time(_reason(args.reason)))
    return f"asked to let go of the hold on {args.name}\n{_watch(cluster, 'modeldeployments')}"


def _reason(words: Sequence[str]) -> str:
    reason = " ".join(words).strip()
    if not reason:
        raise UsageError("REASON: is empty; say why, because an incident review will ask")
    if len(reason) > _MAX_TEXT:
        raise UsageError(f"REASON: has {len(reason)} characters; say it in at most {_MAX_TEXT}")
    return reason


def _at_this_time(text: str) -> str:
    """Return a text that acts although the same words have acted before."""
    return f"{text} ({_now().isoformat(timespec='milliseconds').replace('+00:00', 'Z')})"


def _watch(cluster: Cluster, what: str) -> str:
    return f"watch it: kubectl get {what} -n {cluster.namespace} --watch"


def _now() -> datetime:
    return datetime.now(UTC)


def build() -> Parser:
    """Return the parser of all verbs."""
    root = Parser(
        prog="kubectl lastgood",
        description="See which snapshot of a model serves, and bring back the last known-good one.",
    )
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_reading(verbs)
    _add_rollbacks(verbs)
    _add_judgements(verbs)
    return root


def _add_reading(verbs: parser.Commands) -> None:
    added = _add(verbs, "status", status, "show what serves, is it healthy, and what a rollback would go back to")
    added.add_argument("name", metavar="NAME", nargs="?", type=parser.name, help="one ModelDeployment, in full")
    added.add_argument("--all-namespaces", "-A", action="store_true", help="those of all namespaces")
    _named(_add(verbs, "history", history, "show what a ModelDeployment served, and its rollbacks"))


def _add_rollbacks(verbs: parser.Commands) -> None:
    added = _named(_add(verbs, "rollback", rollback, "roll back to the last known-good snapshot, or a named one"))
    added.add_argument("--reason", required=True, help="why; it is kept in the record")
    added.add_argument("--to", type=parser.name, metavar="SNAPSHOT", help="to this one")
    summary = "roll back now, without asking for a soak, and quarantine what served"
    added = _named(_add(verbs, "emergency", emergency, summary))
    added.add_argument("incident", metavar="INCIDENT", nargs="+", help="such as INC-1234: backdoor in v3")


def _add_judgements(verbs: parser.Commands) -> None:
    added = _add(verbs, "quarantine", quarantine, "never serve a snapshot's digest again in this namespace")
    added.add_argument("snapshot", metavar="SNAPSHOT", type=parser.name, help="a ModelSnapshot")
    added.add_argument("reason", metavar="REASON", nargs="+", help="such as INC-1234: backdoor")
    added = _named(_add(verbs, "resume", resume, "let go of the hold that a rollback left on the desired snapshot"))
    added.add_argument("reason", metavar="REASON", nargs="+", help="why it may be served again")


def _add(verbs: parser.Commands, name: str, verb: Verb, summary: str) -> Parser:
    added = verbs.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
    added.set_defaults(verb=verb)
    added.add_argument("--namespace", "-n", type=parser.label, help="default: the kubeconfig's")
    added.add_argument("--context", help="a context of the kubeconfig")
    added.add_argument("--kubeconfig", metavar="FILE", help="default: as kubectl finds it")
    return added


def _named(added: Parser) -> Parser:
    added.add_argument("name", metavar="NAME", type=parser.name, help="a ModelDeployment")
    return added


if __name__ == "__main__":
    sys.exit(main())
