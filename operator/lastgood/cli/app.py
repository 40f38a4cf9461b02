"""The `lastgood` command: which subcommands there are, and what they take."""

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

from lastgood.cli import parser
from lastgood.cli.parser import Commands, Exit, Parser, UsageError

Run = Callable[[argparse.Namespace], int]
_EXITS = """\
exit codes: 0 done (verify: Verified), 1 refused (verify: DigestMismatch), 2 wrong usage, 3 unreadable
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["--version"]:
        arguments[0] = "version"
    if arguments[:1] == ["run"]:
        from lastgood.cli import run  # noqa: PLC0415 - half a second and 60 MB that the other commands do without

        return run.main(arguments[1:])
    args = build(arguments[0] if arguments else "").parse_args(arguments)
    command: Run = args.command
    return _guarded(command, args)


def _guarded(command: Run, args: argparse.Namespace) -> int:
    """Run a command; a mistake or a bad disk is a sentence and an exit code, and a bug is a traceback."""
    from lastgood.verify.errors import LimitError, RefusedEntryError, UnreadableError  # noqa: PLC0415 - see build

    try:
        return _heard(command, args)
    except UsageError as error:
        return _fail(str(error), Exit.USAGE)
    except RefusedEntryError as error:
        return _fail(f"{error}; remove it, or name another path", Exit.REFUSED)
    except LimitError as error:
        option = error.limit.replace("_", "-")
        return _fail(
            f"{error}; choose a smaller path, or raise the limit with --{option}" if option else str(error),
            Exit.UNREADABLE,
        )
    except UnreadableError as error:
        return _fail(f"{error}; check the path, and try again when it can be read", Exit.UNREADABLE)
    except KeyboardInterrupt:
        return _fail("stopped", 130)


def _heard(command: Run, args: argparse.Namespace) -> int:
    """Run a command and write out what it says: what nobody could read must not look like a refusal."""
    try:
        code = command(args)
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF):
            raise
        return _unwritten(f"the output could not be written: {os.strerror(error.errno)}")
    return code


def _unwritten(sentence: str) -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python fails once more as it ends
    return _fail(sentence, Exit.UNREADABLE)


def _fail(sentence: str, code: int) -> int:
    print(f"lastgood: {sentence}", file=sys.stderr)
    return code


def build(only: str | None = None) -> Parser:
    """Return the parser of all commands; of one command alone, the others are just names in a list.

    A command is imported when its options are asked for: together they bring cryptography, HTTP and scanners, which
    takes most of a second that `--help` and the other commands do without.
    """
    root = Parser(
        prog="lastgood",
        description="Roll a served machine-learning model back to its last known-good snapshot.",
        epilog=_EXITS,
    )
    root.add_argument("--version", action="store_true", help="print the version and exit, as `lastgood version`")
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    commands.add_parser("run", help="run the operator; `lastgood run --help` lists its options", add_help=False)
    for name, (summary, add) in _COMMANDS.items():
        if only in (None, name):
            add(commands, name, summary)
        elif summary:
            commands.add_parser(name, help=summary)
    return root


_ROOMS: Final = {
    "keygen": "lastgood.cli.signing",
    "sign": "lastgood.cli.signing",
    "verify-job": "lastgood.cli.jobs",
    "capture-job": "lastgood.cli.jobs",
    "evidence-job": "lastgood.cli.jobs",
}


def _module(name: str) -> Any:  # noqa: ANN401 - a module, whose `run` and `add_options` are looked up
    room = _ROOMS.get(name, "lastgood.cli")
    return importlib.import_module(f"{room}.{name.replace('-', '_')}")


def _add(commands: Commands, name: str, run: Run, summary: str, *parents: Parser) -> Parser:
    text = f"{summary[0].upper()}{summary[1:]}."
    added = commands.add_parser(name, help=summary, description=text, epilog=_EXITS, parents=parents)
    added.set_defaults(command=run)
    return added


def _limits() -> Parser:
    from lastgood.verify.values import Limits  # noqa: PLC0415 - see build

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


def _add_plain(commands: Commands, name: str, summary: str) -> None:
    module = _module(name)
    module.add_options(_add(commands, name, module.run, summary))


def _add_limited(commands: Commands, name: str, summary: str) -> None:
    module = _module(name)
    module.add_options(_add(commands, name, module.run, summary, _limits()))


def _add_fetch(commands: Commands, name: str, summary: str) -> None:
    module = _module(name)
    added = _add(commands, name, module.run, summary, _limits())
    module.add_options(added)
    _add_digest_option(added)


def _add_store(commands: Commands, name: str, summary: str) -> None:
    _module(name).add_to(commands.add_parser(name, help=summary), _add, _limits)


def _add_version(commands: Commands, name: str, summary: str) -> None:
    _add(commands, name, _version, summary)


def _add_digest(commands: Commands, name: str, summary: str) -> None:
    added = _add(commands, name, _module(name).run, summary, _limits())
    added.add_argument(
        "path",
        type=parser.path,
        metavar="PATH",
        help="a file (the digest is its sha256) or a directory (its manifest's)",
    )
    added.add_argument(
        "--output", choices=["text", "json"], default="text", help="json lists the files too (default: text)"
    )


def _add_snapshot(commands: Commands, name: str, summary: str) -> None:
    group = commands.add_parser(name, help=summary)
    verbs = group.add_subparsers(title="commands", metavar="COMMAND", required=True)
    added = _add(
        verbs, "create", _module(name).run, "print a ModelSnapshot for a checkpoint, ready to apply", _limits()
    )
    added.add_argument("path", type=parser.path, metavar="PATH", help="the checkpoint here, to compute its digest from")
    added.add_argument("--model", type=parser.label, required=True, help="the model family; rollbacks stay within it")
    added.add_argument(
        "--version", type=parser.version, required=True, help="the version, as people call it, such as 2"
    )
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


def _add_verify(commands: Commands, name: str, summary: str) -> None:
    module = _module(name)
    added = _add(commands, name, module.run, summary, _limits())
    added.add_argument("path", type=parser.path, metavar="PATH", help="a file or a directory")
    _add_digest_option(added, required=False)
    module.add_options(added)


def _add_job(commands: Commands, name: str, _: str) -> None:
    # Hidden: the operator's own Job runs it. No help text keeps it out of the list.
    job = _module(name)
    added = commands.add_parser(name, parents=[_limits()])
    added.set_defaults(command=job.run)
    added.add_argument("--root", type=parser.path, required=True)
    added.add_argument("--path", type=parser.relative_path, required=True)
    _add_digest_option(added)
    added.add_argument("--nonce", type=parser.nonce, required=True)
    added.add_argument("--termination-log", type=parser.path, required=True)
    job.add_options(added)


def _add_digest_option(added: Parser, *, required: bool = True) -> None:
    added.add_argument("--digest", type=_digest, required=required, metavar="sha256:…", help="the expected digest")


def _digest(text: str) -> str:
    from lastgood.verify.values import require_digest  # noqa: PLC0415 - see build

    try:
        return require_digest(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).removeprefix("digest: ")) from None


def _version(_: argparse.Namespace) -> int:
    from lastgood import __version__  # noqa: PLC0415 - looking it up takes a tenth of a second

    print(f"lastgood {__version__}")
    return Exit.OK


_COMMANDS: Final[dict[str, tuple[str, Callable[[Commands, str, str], None]]]] = {
    "digest": ("print the digest of a checkpoint", _add_digest),
    "snapshot": ("write a ModelSnapshot", _add_snapshot),
    "keygen": ("create a key pair to sign checkpoints with", _add_plain),
    "sign": ("sign a checkpoint", _add_limited),
    "store": ("copy checkpoints into a snapshot store, and maintain it", _add_store),
    "verify": ("verify a path against its digest or signatures", _add_verify),
    "fetch": ("copy a remote checkpoint, if its digest matches", _add_fetch),
    "scan": ("scan for files that run code, hide content or break a parser", _add_limited),
    "verify-job": ("", _add_job),
    "capture-job": ("", _add_job),
    "evidence-job": ("", _add_job),
    "version": ("print the version", _add_version),
}
