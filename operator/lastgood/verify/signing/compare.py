"""Are the files that were read exactly the files that were signed? What is not is named."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from lastgood.api.text import listed
from lastgood.verify.reading.printable import printable
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.statement import Statement
from lastgood.verify.values import MAX_FINDINGS, FileEntry

_SHOWN = 12  # hex digits of a hash, enough for a person to tell two apart


def require_same(
    statement: Statement, files: Sequence[FileEntry], beside: Collection[str], refused: Mapping[str, str]
) -> tuple[str, ...]:
    """Compare the files that were signed with those that were read; return at most 20 paths (printable) left out.

    A signed file is compared whatever the ignore list says. An unsigned one is left out where the ignore list
    names it, or a directory above it, as in OMS v1.0; it is the caller's to refuse that.

    Args:
        statement: what was signed.
        files: what was read.
        beside: paths that need not be signed, for the caller has proven that they are signatures of these files.
        refused: paths that are named as signatures and are none, and why not, for people.

    Raises:
        SignatureError: if they differ; its findings name the files.
    """
    found = {file.path: file.sha256 for file in files}
    unsigned = [path for path in sorted(found.keys() - statement.resources.keys()) if path not in beside]
    ignored = {path.rstrip("/") for path in statement.ignored}
    left_out = [path for path in unsigned if _is_ignored(path, ignored)]
    extra = [path for path in unsigned if not _is_ignored(path, ignored)]
    findings = listed(list(_differences(statement.resources, found, extra, refused)), MAX_FINDINGS)
    if findings:
        more = " and more" if len(findings) > 1 else ""
        raise SignatureError(
            Problem.FILES_DIFFER, f"the files are not those that were signed: {findings[0]}{more}", findings
        )
    return tuple(printable(path) for path in left_out[:MAX_FINDINGS])


def _is_ignored(path: str, ignored: set[str]) -> bool:
    parts = path.split("/")
    return "." in ignored or any("/".join(parts[:count]) in ignored for count in range(1, len(parts) + 1))


def _differences(
    signed: Mapping[str, str], found: Mapping[str, str], extra: Sequence[str], refused: Mapping[str, str]
) -> Iterator[str]:
    names = {sha256: path for path, sha256 in sorted(signed.items(), reverse=True)}
    for path in sorted(signed.keys() & found.keys()):
        if signed[path] != found[path]:
            yield _changed(path, signed[path], found[path], names)
    unclaimed = {found[path]: path for path in reversed(extra)}
    renamed: set[str] = set()
    for path in sorted(signed.keys() - found.keys()):
        target = unclaimed.pop(signed[path], None)
        if target is None:
            yield f"{printable(path)} is missing"
        else:
            renamed.add(target)
            yield f"{printable(path, 120)} is renamed to {printable(target, 120)}"
    yield from (f"{printable(path)} is extra{_excuse(path, refused)}" for path in extra if path not in renamed)


def _excuse(path: str, refused: Mapping[str, str]) -> str:
    return f"; it is declared as a signature, but does not count: {refused[path]}" if path in refused else ""


def _changed(path: str, signed: str, found: str, names: Mapping[str, str]) -> str:
    if found in names:
        return f"{printable(path, 120)} is swapped: it has the bytes that were signed as {printable(names[found], 120)}"
    return f"{printable(path)} is changed (its sha256 is {found[:_SHOWN]}…, and {signed[:_SHOWN]}… was signed)"
