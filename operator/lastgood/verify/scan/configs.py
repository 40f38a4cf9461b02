"""The configuration scanner: files that look like settings, and make a loader import or run something."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from lastgood.api.names import Severity
from lastgood.verify.scan import jsontext, templates
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.part import Part
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding, packed

_CODE_KEYS: Final = {
    "auto_map": "names Python code beside the weights, which transformers imports with trust_remote_code",
    "custom_pipelines": "names Python code beside the weights, which transformers imports with trust_remote_code",
    "_target_": "names a Python callable, which Hydra and NeMo import and call",
}
_MODULES: Final = ("keras", "tensorflow", "tf_keras", "builtins")
_FUNCTION: Final = "function"
_LAMBDA: Final = frozenset({"Lambda", "__lambda__"})
_MARKERS: Final = (
    (Format.HDF5, re.compile(rb'"class_name":\s*"(?:Lambda|__lambda__)"'), "keras-lambda"),
    (
        Format.PROTOBUF,
        re.compile(rb"\b(?:(?:Eager)?PyFunc(?:Stateless)?|(?:Read|Write)File|MergeV2Checkpoints)\b"),
        "tensorflow-op",
    ),
)
_WORDS: Final = {
    "keras-lambda": "it holds a Lambda layer: Python bytecode that runs when the model is loaded",
    "tensorflow-op": "its graph holds an operation that runs Python or touches files",
}
_YAML: Final = re.compile(rb"!!python/[\w/.:-]+|^\s*_target_\s*:.*$", re.MULTILINE)
_OVERLAP: Final = 128
_JSON_NAMES: Final = (".json", ".jinja", ".yaml", ".yml")
_MOST: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigScanner:
    """Looks into settings: JSON, YAML, chat templates, Keras and TensorFlow models."""

    name: str = "config"

    def applies(self, part: Part) -> bool:
        """Tell whether it is one of these."""
        return part.suffix in _JSON_NAMES or part.format in {Format.JSON, Format.HDF5, Format.PROTOBUF}

    def run(self, part: Part, _: Context) -> Iterator[Finding]:
        """Yield what makes a loader do something."""
        if part.suffix == ".jinja":
            yield from templates.look(part.name, _text(part, templates.MAX_TEMPLATE * 4))
        elif part.suffix in {".yaml", ".yml"}:
            yield from _search(part, _YAML, "yaml-code", "it makes a loader import and call something")
        elif part.format in {Format.HDF5, Format.PROTOBUF}:
            yield from _markers(part)
        elif part.suffix in {".json", ""}:
            yield from _json(part)


def _text(part: Part, limit: int) -> str:
    return part.read(0, limit).decode("utf-8", "replace")


def _markers(part: Part) -> Iterator[Finding]:
    for format_, pattern, rule in _MARKERS:
        if part.format is format_:
            yield from _search(part, pattern, rule, _WORDS[rule])


def _search(part: Part, pattern: "re.Pattern[bytes]", rule: str, message: str) -> Iterator[Finding]:
    """Yield one finding if a pattern occurs anywhere, however large the file is."""
    if not part.whole:
        yield packed(part.name)
        return
    before = b""
    for chunk in part.chunks():
        found = pattern.search(before + chunk)
        if found:
            yield finding(Severity.HIGH, rule, part.name, message, found.group()[:80].decode("utf-8", "replace"))
            return
        before = chunk[-_OVERLAP:]


def _json(part: Part) -> Iterator[Finding]:
    critical = part.base in {"config.json", "tokenizer_config.json", "chat_template.json"}
    if not part.whole or part.size > jsontext.MAX_BYTES:
        if part.base != "tokenizer.json":  # a vocabulary: large in every model, and no loader runs it
            message = "the settings are too large to be looked at"
            severity = Severity.HIGH if critical else Severity.LOW
            yield anomaly(severity, "not-checked-config", part.name, message, f"{part.size} bytes")
        return
    try:
        settings = jsontext.parse(part.read(0, part.size))
    except jsontext.JsonError as error:
        if part.suffix == ".json" and part.base != "tokenizer.json":
            message = f"the file {error}: what a loader makes of it is not known"
            severity = Severity.HIGH if critical else Severity.MEDIUM
            yield anomaly(severity, "config-unusual", part.name, message)
        return
    for count, found in enumerate(_walk(part, settings)):
        if count < _MOST:
            yield found


def _walk(part: Part, root: object) -> Iterator[Finding]:
    pending = [root]  # the depth is bounded already; the order does not matter
    while pending:
        match pending.pop():
            case dict() as settings:
                yield from _settings(part, settings)
                pending.extend(settings.values())
            case list() as items:
                pending.extend(items)
            case _:
                pass


def _settings(part: Part, settings: dict[str, Any]) -> Iterator[Finding]:
    for key, what in _CODE_KEYS.items():
        if settings.get(key):
            yield finding(Severity.HIGH, "config-code", part.name, f"{key} {what}", f"{key}: {settings[key]}"[:400])
    if settings.get("trust_remote_code"):
        message = "trust_remote_code is set by the checkpoint itself"
        yield finding(Severity.HIGH, "config-trust-remote-code", part.name, message)
    yield from _keras(part, settings)
    yield from _chat(part, settings.get("chat_template"))


def _keras(part: Part, settings: dict[str, Any]) -> Iterator[Finding]:
    kind, module = settings.get("class_name"), settings.get("module")
    if isinstance(kind, str) and kind in _LAMBDA:
        yield finding(Severity.HIGH, "keras-lambda", part.name, _WORDS["keras-lambda"], kind)
    if not (isinstance(kind, str) and isinstance(module, str) and "config" in settings):
        return
    if module.split(".")[0] not in _MODULES or (module == "builtins" and kind != _FUNCTION):
        message = "Keras imports this module to build the layer"
        yield finding(Severity.HIGH, "keras-import", part.name, message, f"{module}.{kind}")


def _chat(part: Part, template: object) -> Iterator[Finding]:
    rows = template if isinstance(template, list) else [template]
    for row in rows[:_MOST]:
        text = row.get("template") if isinstance(row, dict) else row
        if isinstance(text, str):
            yield from templates.look(part.name, text)
        elif text is not None:
            message = "a chat template that is no text"
            yield anomaly(Severity.MEDIUM, "config-unusual", part.name, message, type(text).__name__)
    if isinstance(template, dict):
        yield from (
            found for text in template.values() if isinstance(text, str) for found in templates.look(part.name, text)
        )
