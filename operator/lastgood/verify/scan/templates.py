"""Chat templates: Jinja that a server renders for each request, written by whoever made the checkpoint."""

import re
from collections.abc import Iterator
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.values import Finding, anomaly, finding

MAX_TEMPLATE: Final = 2**18
_ESCAPE: Final = re.compile(r"\\x([0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\([0-7]{3})")
_JOIN: Final = re.compile(r"""(['"])\s*[~+]\s*(['"])""")
_ATTACKS: Final = (
    # Words with two underscores reach Python's insides: PEP 8 reserves them for the language.
    (re.compile(r"__[A-Za-z]\w*__|['\"]__['\"]|\[['\"]_+['\"]|['\"]_['\"]\s*\*"), "accesses Python internals"),
    (re.compile(r"\|\s*attr\b|\bmap\s*\(\s*attribute\s*=\s*['\"]_|\battr\s*\("), "accesses attributes by name"),
    (re.compile(r"\{%-?\s*(?:import|include|extends|from)\b"), "loads another template"),
    (
        re.compile(r"\bos\s*\.\s*(?:system|environ)|\b(?:subprocess|popen|importlib)\b"),
        "runs system commands or reads the environment",
    ),
    (re.compile(r"\b(?:eval|exec)\("), "runs code"),
    (re.compile(r"\b(?:lipsum|cycler|joiner)\b|\bself\s*(?:\._|\[)"), "uses an object known for sandbox escapes"),
    (re.compile(r"\bmro\s*\(|\bsubclasses\b|\bf_globals\b|\bgi_frame\b|\bfunc_globals\b"), "walks the class hierarchy"),
)  # fmt: skip
_HIDDEN: Final = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\U000e0000-\U000e007f]")
_ADDRESS: Final = re.compile(r"https?://[^\s'\"]+")


def look(file: str, template: str) -> Iterator[Finding]:
    """Yield what a chat template does that a chat template has no need of."""
    if len(template) > MAX_TEMPLATE:
        message = f"a chat template of more than {MAX_TEMPLATE} characters; the rest is not looked at"
        yield finding(Severity.HIGH, "template-size", file, message, str(len(template)))
    text = template[:MAX_TEMPLATE]
    plain = _JOIN.sub("", _ESCAPE.sub(_decode, text))
    for pattern, what in _ATTACKS:
        found = pattern.search(plain)
        if found:
            evidence = plain[max(0, found.start() - 40) : found.end() + 60]
            yield finding(Severity.CRITICAL, "template-injection", file, f"the chat template {what}", evidence)
    if plain != text and _ESCAPE.search(text) and not _only_control(text):
        message = "the chat template writes letters as escapes, which hides words"
        yield anomaly(Severity.MEDIUM, "template-escapes", file, message)
    if _HIDDEN.search(text):
        message = "the chat template holds characters that do not show"
        yield anomaly(Severity.MEDIUM, "template-hidden-text", file, message)
    address = _ADDRESS.search(text)
    if address:
        message = "the chat template holds an address, which the model may be made to pass on"
        yield anomaly(Severity.LOW, "template-address", file, message, address.group())


def _decode(found: "re.Match[str]") -> str:
    hexadecimal, octal = found.group(1) or found.group(2), found.group(3)
    return chr(int(hexadecimal, 16) if hexadecimal else int(octal, 8))


def _only_control(text: str) -> bool:
    return not any(_decode(found).isalnum() or _decode(found) == "_" for found in _ESCAPE.finditer(text))
