"""The `lastgood` command: which subcommands there are, and what they take."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from lastgood import __version__
from lastgood.cli import digest, parser, snapshot, verify, verify_job
from lastgood.cli.parser import Commands, Exit, Parser, UsageError
from lastgood.verify import Limits, RefusedEntryError, UnreadableError
from lastgood.verify.values import require_digest

Run = Callable[[argparse.Namespace], int]
_EXITS = """\
exit codes: 0 done (verify: Verified), 1 refused (verify: DigestMismatch), 2 wrong usage, 3 could not be read
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["run"]:
        from lastgood.cli import run  # noqa: PLC0415 - half a second and 60 MB that the other commands do without

        return run.main(arguments[1:])
    args = build().parse_args(arguments)
    command: Run = args.command
    return _guarded(command, args)


def _guarded(command: Run, args: argparse.Namespace) -> int:
    """Run a command; a mistake or a bad disk is a sentence and an exit code, and a bug is a traceback."""
    try:
        return command(args)
    except UsageError as error:
        return _fail(str(error), Exit.USAGE)
    except RefusedEntryError as error:
        return _fail(f"{error}; remove it, or name another path", Exit.REFUSED)
    except UnreadableError as error:
        return _fail(f"{error}; check the path, and try again when it can be read", Exit.UNREADABLE)
    except KeyboardInterrupt:
        return _fail("stopped", 130)


def _fail(sentence: str, code: int) -> int:
    print(f"lastgood: {sentence}", file=sys.stderr)
    return code


def build() -> Parser:
    """Return the parser of all commands."""
    root = Parser(
        prog="lastgood",
        description="Bring a served machine-learning model back to its last known-good snapshot.",
        epilog=_EXITS,
    )
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser("run", help="run the operator; `lastgood run --help` lists its options", add_help=False)
    _add_digest(commands)
    _add_snapshot(commands)
    _add_verify(commands)
    _add_verify_job(commands)
    _add(commands, "version", _version, "print the version")
    return root


def _add(commands: Commands, name: str, run: Run, summary: str, *parents: Parser) -> Parser:
    text = f"{summary[0].upper()}{summary[1:]}."
    added = commands.add_parser(name, help=summary, description=text, epilog=_EXITS, parents=parents)
    added.set_defaults(command=run)
    return added


def _limits() -> Parser:
    limits = Parser(add_help=False)
    limits.add_argument(
        "--max-files",
        type=parser.positive,
        default=Limits().max_files,
        metavar="N",
        help="refuse to read more entries than this (default: %(default)s)",
    )
    limits.add_argument("--max-bytes", type=parser.positive, metavar="N", help="refuse to read more bytes than this")
    return limits


def _add_digest(commands: Commands) -> None:
    added = _add(commands, "digest", digest.run, "print the digest of a checkpoint", _limits())
    added.add_argument(
        "path",
        type=Path,
        metavar="PATH",
        help="a file (the digest is its sha256) or a directory (its manifest's)",
    )
    added.add_argument(
        "--output", choices=["text", "json"], default="text", help="json lists the files too (default: text)"
    )


def _add_snapshot(commands: Commands) -> None:
    group = commands.add_parser("snapshot", help="write a ModelSnapshot")
    verbs = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    added = _add(verbs, "create", snapshot.run, "print a ModelSnapshot for a checkpoint, ready to apply", _limits())
    added.add_argument("path", type=Path, metavar="PATH", help="the checkpoint here, to compute its digest from")
    added.add_argument("--model", type=parser.label, required=True, help="the family: a rollback stays inside it")
    added.add_argument("--version", type=parser.version, required=True, help="a label for people, such as 2")
    place = added.add_mutually_exclusive_group(required=True)
    place.add_argument(
        "--store-path", type=parser.relative_path, metavar="PATH", help="its path in the operator's store"
    )
    place.add_argument("--pvc", type=parser.name, metavar="CLAIM", help="the claim that holds it")
    added.add_argument(
        "--path", type=parser.relative_path, dest="source_path", metavar="PATH", help="its path on the claim"
    )
    added.add_argument("--name", type=parser.name, help="the object's name (default: MODEL-VERSION)")
    added.add_argument("--namespace", "-n", type=parser.label, help="the object's namespace")
    added.add_argument("--trained-at", type=parser.moment, metavar="TIME", help="when its training ended")
    added.add_argument("--data-cutoff", type=parser.moment, metavar="TIME", help="the newest data it has seen")
    added.add_argument("--image", type=parser.image, help="the image it was validated with")


def _add_verify(commands: Commands) -> None:
    added = _add(commands, "verify", verify.run, "check that a path is what its digest says", _limits())
    added.add_argument("path", type=Path, metavar="PATH", help="a file or a directory")
    _add_digest_option(added)
    added.add_argument(
        "--manifest",
        type=Path,
        metavar="FILE",
        help="what `lastgood digest --output json` printed once: names the files that differ",
    )
    added.add_argument("--output", choices=["text", "json", "yaml"], default="text", help="(default: text)")


def _add_verify_job(commands: Commands) -> None:
    # Hidden: the operator's own Job runs it. No help text keeps it out of the list.
    added = commands.add_parser("verify-job", parents=[_limits()])
    added.set_defaults(command=verify_job.run)
    added.add_argument("--root", type=Path, required=True)
    added.add_argument("--path", type=parser.relative_path, required=True)
    _add_digest_option(added)
    added.add_argument("--nonce", type=parser.nonce, required=True)
    added.add_argument("--termination-log", type=Path, required=True)


def _add_digest_option(added: Parser) -> None:
    added.add_argument("--digest", type=_digest, required=True, metavar="sha256:…", help="what it should be")


def _digest(text: str) -> str:
    try:
        return require_digest(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("digest: ")) from None


def _version(_: argparse.Namespace) -> int:
    print(f"lastgood {__version__}")
    return Exit.OK
