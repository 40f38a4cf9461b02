"""`kubectl lastgood`: the verbs for people on call; each reads, or writes one annotation that anyone could write."""

import argparse
import os
import re
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from lastgood import __version__
from lastgood.api.names import EMERGENCY, QUARANTINE, RESUME, ROLLBACK
from lastgood.cli import parser
from lastgood.cli.oncall import story, tables
from lastgood.cli.oncall.cluster import DEPLOYMENTS, ROLLBACKS, SNAPSHOTS, Cluster, ClusterError
from lastgood.cli.oncall.presence import presence
from lastgood.cli.oncall.waiting import Waiter, wait
from lastgood.cli.parser import Exit, Parser, UsageError
from lastgood.core.requests.requests import parse_wish, request_key

_MAX_TEXT: Final = 900  # of the 1024 that a record keeps of a reason
_PREFIX = re.compile(r"\s*(to|before)\s*=")
OPERATOR_NAMESPACE: Final = "LASTGOOD_OPERATOR_NAMESPACE"
_Verb = Callable[[Cluster, argparse.Namespace], int]


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code, see `_EXITS`."""
    args = build().parse_args(argv)
    verb: _Verb = args.verb
    try:
        cluster = Cluster(kubeconfig=args.kubeconfig, context=args.context, namespace=args.namespace)
        return verb(cluster, args)
    except UsageError as error:
        return _fail(str(error), Exit.USAGE)
    except ClusterError as error:
        return _fail(str(error), Exit.REFUSED)
    except KeyboardInterrupt:
        return _fail("stopped", Exit.STOPPED)


def _fail(sentence: str, code: int) -> int:
    _warn(f"kubectl lastgood: {sentence}")
    return code


def _warn(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _say(text: str) -> int:
    print(text, flush=True)
    return Exit.OK


def status(cluster: Cluster, args: argparse.Namespace) -> int:
    """Show what serves, whether it is healthy, and what a rollback would go back to."""
    if args.name:
        _say(story.of_one(cluster, args.name, _now()))
        return _present(cluster, args)
    bodies = cluster.find_all(DEPLOYMENTS, everywhere=args.all_namespaces)
    if not bodies:
        return _say(f"no modeldeployments{'' if args.all_namespaces else f' in {cluster.namespace}'}")
    header = ("NAMESPACE", *tables.STATUS) if args.all_namespaces else tables.STATUS
    rows = [tables.status_row(body, _now(), namespaced=args.all_namespaces) for body in bodies]
    _say(tables.table(header, rows))
    return _present(cluster, args)


def history(cluster: Cluster, args: argparse.Namespace) -> int:
    """Show what a ModelDeployment served, and its rollbacks."""
    body = cluster.get(DEPLOYMENTS, args.name)
    served = tables.table(tables.HISTORY, tables.history_rows(body, _now()))
    rollbacks = tables.table(tables.ROLLBACKS, tables.rollback_rows(body, _now()))
    return _say(f"{served}\n\n{rollbacks}")


def records(cluster: Cluster, args: argparse.Namespace) -> int:
    """Show the records of rollbacks, newest first."""
    bodies = cluster.find_all(ROLLBACKS, everywhere=args.all_namespaces)
    rows = tables.record_rows(bodies, _now(), of=args.name or "", namespaced=args.all_namespaces)
    if not rows:
        return _say("no modelrollbacks")
    header = ("NAMESPACE", *tables.RECORDS) if args.all_namespaces else tables.RECORDS
    return _say(tables.table(header, rows))


def rollback(cluster: Cluster, args: argparse.Namespace) -> int:
    """Ask for a normal rollback."""
    reason = _reason([args.reason])
    read = parse_wish(reason)
    if read.to or read.before or read.error or _PREFIX.match(reason):
        raise UsageError("--reason: begins with 'to=' or 'before=', which the operator reads as options; use --to")
    value = _at_this_time(f"to={args.to}: {reason}" if args.to else reason)
    cluster.annotate(DEPLOYMENTS, args.name, ROLLBACK, value)
    target = args.to or "the last known-good snapshot"
    return _asked(cluster, args, f"requested a rollback of {args.name} to {target}", request_key(ROLLBACK, value))


def emergency(cluster: Cluster, args: argparse.Namespace) -> int:
    """Ask for an emergency rollback; the text goes as it is, because nothing in it may stop a rollback."""
    value = _at_this_time(" ".join(args.incident)[:_MAX_TEXT])
    cluster.annotate(DEPLOYMENTS, args.name, EMERGENCY, value)
    return _asked(cluster, args, f"requested an emergency rollback of {args.name}", request_key(EMERGENCY, value))


def _asked(cluster: Cluster, args: argparse.Namespace, told: str, key: str) -> int:
    """Say what was asked for, then whether anybody hears it, and wait for the outcome if that is wanted.

    What is asked for is asked for first: no look at anything else may delay an emergency.
    """
    watch = _watch(cluster, "modelrollbacks")
    _say(told if args.wait else f"{told}\n{watch}")
    try:
        _present(cluster, args)
        if not args.wait:
            return Exit.OK
        found = wait(Waiter(cluster, args.name, key), seconds=args.timeout)
    except KeyboardInterrupt:
        return _fail(f"stopped waiting; the request stays active. {watch}", Exit.STOPPED)
    code = Exit.FAILED if found.code is None else found.code
    if code == Exit.TIMED_OUT:
        return _fail(f"{found.stage}\n{watch}", code)
    _say(found.stage)
    return code


def quarantine(cluster: Cluster, args: argparse.Namespace) -> int:
    """Ask to quarantine a snapshot's digest."""
    cluster.annotate(SNAPSHOTS, args.snapshot, QUARANTINE, _at_this_time(_reason(args.reason)))
    said = f"requested quarantine of the digest of {args.snapshot} in namespace {cluster.namespace}"
    _say(f"{said}; ModelDeployments that serve it roll back\n{_watch(cluster, 'modelsnapshots,modelrollbacks')}")
    return _present(cluster, args)


def resume(cluster: Cluster, args: argparse.Namespace) -> int:
    """Let go of a hold."""
    cluster.annotate(DEPLOYMENTS, args.name, RESUME, _at_this_time(_reason(args.reason)))
    _say(f"requested to lift the hold on {args.name}\n{_watch(cluster, 'modeldeployments')}")
    return _present(cluster, args)


def _present(cluster: Cluster, args: argparse.Namespace) -> int:
    """Warn where no operator holds the Lease: what was asked for is done all the same, as far as it is ours."""
    found = presence(cluster, args.operator_namespace or os.environ.get(OPERATOR_NAMESPACE))
    if found.warning:
        _warn(found.warning)
    return Exit.OK


def _reason(words: Sequence[str]) -> str:
    reason = " ".join(words).strip()
    if not reason:
        raise UsageError("REASON: is empty; state the reason, for the incident review")
    if len(reason) > _MAX_TEXT:
        raise UsageError(f"REASON: has {len(reason)} characters; use at most {_MAX_TEXT}")
    return reason


def _at_this_time(text: str) -> str:
    """Return a text that acts although the same words have acted before."""
    return f"{text} ({_now().isoformat(timespec='milliseconds').replace('+00:00', 'Z')})"


def _watch(cluster: Cluster, what: str) -> str:
    return f"watch it: kubectl get {what} -n {cluster.namespace} --watch"


def _now() -> datetime:
    return datetime.now(UTC)


EXAMPLES: Final = """\
examples:
  kubectl lastgood status digits -n ml             what serves, and the target of a rollback, before you request one
  kubectl lastgood rollback digits -n ml --reason "wrong digits since noon" --wait
  kubectl lastgood rollback digits -n ml --to digits-v1 --reason "v2 and v3 share their data"
  kubectl lastgood emergency digits -n ml --wait "INC-1234: backdoor suspected"
  kubectl lastgood records digits -n ml            its rollbacks, newest first

For details: `kubectl lastgood VERB --help`"""
_EXITS: Final = """\
exit codes:
  0  done; with --wait: Succeeded
  1  the API server refused
  2  wrong usage; nothing was requested
with --wait:
  4  Unvalidated: the target serves, but its checks were inconclusive
  5  Failed, or no known-good snapshot
  6  Rejected or Superseded; see the message
  7  no outcome within --timeout; the request stays active
130  stopped with Ctrl-C; the request stays active"""
_HOW: Final = {
    "status": "With NAME: its conditions, its triggers with value, error and age, and for each snapshot why "
    "a rollback or an emergency would use it or not. What you have no access to is listed below the table.",
    "rollback": "With --to, only to that snapshot. The operator verifies the target's bytes, writes a ModelRollback, "
    "switches the workload, waits for the pods and runs the checks.",
    "emergency": "INCIDENT is '[to=SNAPSHOT] [before=TIME] NUMBER: TEXT', such as 'to=digits-v1 INC-42: backdoor'. "
    "A recently verified target is switched first and verified right afterwards.",
    "records": "Sorted by creation time, including records that people created; `kubectl get modelrollbacks` sorts "
    "by name.",
}


def build() -> Parser:
    """Return the parser of all verbs."""
    root = Parser(
        prog="kubectl lastgood",
        description="Show which snapshot of a model serves, and roll back to the last known-good one.",
        epilog=f"{EXAMPLES}\n\n{_EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=__version__)
    verbs = root.add_subparsers(title="verbs", metavar="VERB", required=True)
    _add_reading(verbs)
    _add_rollbacks(verbs)
    _add_judgements(verbs)
    return root


def _add_reading(verbs: parser.Commands) -> None:
    added = _add(verbs, "status", status, "show the current snapshot, its health and the rollback target")
    _of_some(added, "one ModelDeployment, in full")
    _named(_add(verbs, "history", history, "show what a ModelDeployment served, and its rollbacks"))
    _of_some(_add(verbs, "records", records, "show the records of rollbacks, newest first"), "of one ModelDeployment")


def _add_rollbacks(verbs: parser.Commands) -> None:
    added = _named(_add(verbs, "rollback", rollback, "roll back to the last known-good snapshot, or a named one"))
    added.add_argument("--reason", required=True, help="the reason, kept in the ModelRollback")
    added.add_argument("--to", type=parser.name, metavar="SNAPSHOT", help="the snapshot to roll back to")
    _waiting(added)
    summary = "roll back now, also to a snapshot without a soak, and quarantine the current one"
    added = _named(_add(verbs, "emergency", emergency, summary))
    added.add_argument("incident", metavar="INCIDENT", nargs="+", help="such as INC-1234: backdoor in v3")
    _waiting(added)


def _add_judgements(verbs: parser.Commands) -> None:
    added = _add(verbs, "quarantine", quarantine, "block a snapshot's digest in this namespace")
    added.add_argument("snapshot", metavar="SNAPSHOT", type=parser.name, help="a ModelSnapshot")
    added.add_argument("reason", metavar="REASON", nargs="+", help="such as INC-1234: backdoor")
    added = _named(_add(verbs, "resume", resume, "lift the hold that a rollback placed on the desired snapshot"))
    added.add_argument("reason", metavar="REASON", nargs="+", help="why it may be served again")


def _add(verbs: parser.Commands, name: str, verb: _Verb, summary: str) -> Parser:
    added = verbs.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {_HOW.get(name, '')}",
    )
    added.set_defaults(verb=verb)
    added.add_argument("--namespace", "-n", type=parser.label, help="default: the namespace of the context")
    added.add_argument("--context", help="a context of the kubeconfig")
    added.add_argument("--kubeconfig", metavar="FILE", help="default: as kubectl finds it")
    where = f"where the operator is; default: ${OPERATOR_NAMESPACE}, else it is detected"
    added.add_argument("--operator-namespace", metavar="NS", type=parser.label, help=where)
    return added


def _named(added: Parser) -> Parser:
    added.add_argument("name", metavar="NAME", type=parser.name, help="a ModelDeployment")
    return added


def _of_some(added: Parser, summary: str) -> None:
    added.add_argument("name", metavar="NAME", nargs="?", type=parser.name, help=summary)
    added.add_argument("--all-namespaces", "-A", action="store_true", help="list all namespaces")


def _waiting(added: Parser) -> None:
    added.formatter_class = argparse.RawDescriptionHelpFormatter
    added.description = textwrap.fill(added.description or "", 100)
    added.epilog = _EXITS
    added.add_argument("--wait", action="store_true", help="wait for the outcome, and exit with its code")
    added.add_argument("--timeout", type=parser.duration, default=600.0, metavar="TIME", help="timeout of --wait (10m)")


if __name__ == "__main__":
    sys.exit(main())
