"""The configuration scanner: files that look like settings, and make a loader import or run something."""

import contextlib
import re
import reprlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from lastgood.api.names import Severity
from lastgood.api.strictjson import BoundError, JsonError, parse, parse_leniently
from lastgood.verify.scan import markers, templates
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.readers import keras, yamltext
from lastgood.verify.scan.readers.bounds import JSON
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, anomaly, finding, packed

_CODE_KEYS: Final = {
    "auto_map": "names Python code beside the weights, which transformers imports with trust_remote_code",
    "custom_pipelines": "names Python code beside the weights, which transformers imports with trust_remote_code",
    "_target_": "names a Python callable, which Hydra and NeMo import and call",
}
_CALLED: Final = (  # two keys of one object: what is imported and called, and with what
    ("target", "params", "which Stable Diffusion and its like import and call"),
    ("class_path", "init_args", "which Lightning imports and calls"),
)
_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)+")
_IMPORTED: Final = (  # in a file of that name (any, where there is none), the package that a loader imports it from
    ("modules.json", "type", "sentence_transformers"),
    ("", "parent_library", "transformers"),  # of PEFT's auto_mapping
)
_CRITICAL: Final = frozenset({"config.json", "tokenizer_config.json", "chat_template.json"})
_TABLES: Final = ("vocab.json", "added_tokens.json", "trainer_state.json", ".index.json")  # no loader runs them
_MOST: Final = 20
_TEMPLATES: Final = frozenset({".jinja", ".jinja2", ".j2"})
_YAML: Final = frozenset({".yaml", ".yml"})
_YAML_NAMES: Final = frozenset({"mlmodel"})
_PERHAPS_YAML: Final = frozenset({".cfg", ".conf"})  # looked at as far as it can be read as YAML
_SHORT: Final = reprlib.Repr()  # what aliases name may be endless when it is written out
_SHORT.maxlevel, _SHORT.maxdict, _SHORT.maxlist, _SHORT.maxstring = 3, 8, 8, 200


@dataclass(frozen=True, kw_only=True, slots=True)
class ConfigScanner:
    """Looks into settings: JSON, YAML, chat templates, Keras and TensorFlow models."""

    name: str = "config"

    def applies(self, part: Part) -> bool:
        """Tell whether it is one of these."""
        named = part.suffix in {".json", *_TEMPLATES} or _is_yaml(part) or part.suffix in _PERHAPS_YAML
        return named or part.format is Format.JSON or markers.applies(part)

    def run(self, part: Part, _: Context) -> Iterator[Finding]:
        """Yield what makes a loader do something; of each rule and severity so many, so that none hides another."""
        counts: Counter[tuple[str, Severity]] = Counter()
        for found in self._found(part):
            counts[found.rule, found.severity] += 1
            if counts[found.rule, found.severity] <= _MOST:
                yield found

    def _found(self, part: Part) -> Iterator[Finding]:
        if part.suffix in _TEMPLATES:
            yield from templates.look(part.name, _text(part, templates.MAX_TEMPLATE * 4))
        elif _is_yaml(part) or part.suffix in _PERHAPS_YAML:
            yield from _yaml(part)
        elif part.suffix in {".json", ""} and part.format not in {Format.HDF5, Format.PROTOBUF}:
            yield from _json(part)
        yield from markers.look(part)


def _is_yaml(part: Part) -> bool:
    return part.suffix in _YAML or part.base in _YAML_NAMES


def _text(part: Part, limit: int) -> str:
    return part.read(0, limit).decode("utf-8", "replace")


def _json(part: Part) -> Iterator[Finding]:
    if part.base == "tokenizer.json":
        yield from _vocabulary(part)
    elif not part.whole or part.size > JSON.size:
        message = "the settings are too large to be looked at"
        severity = Severity.LOW if part.base.endswith(_TABLES) else Severity.HIGH
        yield anomaly(severity, "not-checked-config", part.name, message, f"{part.size} bytes")
    else:
        yield from _parsed(part)


def _vocabulary(part: Part) -> Iterator[Finding]:
    """Look into a tokenizer where that can be done: it is large in every model, and no loader runs it."""
    if part.whole and part.size <= JSON.size:
        with contextlib.suppress(JsonError):
            yield from _walk(part, parse(part.read(0, part.size), JSON))


def _parsed(part: Part) -> Iterator[Finding]:
    """Look into settings that can be read in one way or another: a loader may read what is unusual all the same."""
    try:
        settings, unusual = parse_leniently(part.read(0, part.size), JSON)
    except JsonError as error:
        beyond = isinstance(error, BoundError) and not part.base.endswith(_TABLES)
        settings, unusual, grave = None, str(error), beyond
    else:
        grave = False
    if unusual and part.suffix == ".json":
        message = f"the file {unusual}: what a loader makes of it is not known"
        severity = Severity.HIGH if grave or part.base in _CRITICAL else Severity.MEDIUM
        yield anomaly(severity, "config-unusual", part.name, message)
    yield from _walk(part, settings)


def _yaml(part: Part) -> Iterator[Finding]:
    if not part.whole:
        yield packed(part.name)
        return
    found = yamltext.read(part.read(0, min(part.size, yamltext.MAX_BYTES + 1)))
    if found.problem is not None and _is_yaml(part):
        rule = "not-checked-config" if isinstance(found.problem, yamltext.YamlBoundError) else "config-unusual"
        message = f"the file {found.problem}: what a loader makes of it is not known"
        yield anomaly(Severity.HIGH, rule, part.name, message, f"{part.size} bytes")
    for tag in found.tags[:_MOST]:
        message = "a tag makes a loader import and call something, or build what is not known"
        yield finding(Severity.HIGH, "yaml-code", part.name, message, tag)
    for row in _walk(part, found.documents):
        yield replace(row, rule="yaml-code") if row.rule == "config-code" else row


def _walk(part: Part, root: object) -> Iterator[Finding]:
    """Look at all that a value holds, each once: behind aliases there may be endlessly much."""
    pending = [root]  # the depth is bounded already; the order does not matter
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, (dict, list)) and id(value) in seen:
            continue
        seen.add(id(value))
        match value:
            case dict() as settings:
                yield from _settings(part, settings)
                if id(template := settings.get("chat_template")) not in seen:
                    yield from _chat(part, template)
                pending.extend(settings.values())
            case list() as items:
                pending.extend(items)
            case _:
                pass


def _settings(part: Part, settings: dict[str, Any]) -> Iterator[Finding]:
    for key, what in _CODE_KEYS.items():
        if settings.get(key):
            yield finding(
                Severity.HIGH, "config-code", part.name, f"{key} {what}", f"{key}: {_SHORT.repr(settings[key])}"[:400]
            )
    if settings.get("trust_remote_code"):
        message = "trust_remote_code is set by the checkpoint itself"
        yield finding(Severity.HIGH, "config-trust-remote-code", part.name, message)
    for key, arguments, what in _CALLED:
        name = settings.get(key)
        if arguments in settings and isinstance(name, str) and _DOTTED.fullmatch(name):
            yield finding(Severity.HIGH, "config-code", part.name, f"{key} names a callable, {what}", f"{key}: {name}")
    for base, key, package in _IMPORTED:
        name = settings.get(key)
        if isinstance(name, str) and part.base == (base or part.base) and name.split(".")[0] != package:
            message = f"{key} names a module that is not of {package}, which a loader imports"
            yield finding(Severity.HIGH, "config-code", part.name, message, f"{key}: {name}")
    if name := keras.unsafe(settings):
        yield finding(Severity.HIGH, "keras-lambda", part.name, keras.UNSAFE_WORDS, name)
    if name := keras.imported(settings):
        yield finding(Severity.HIGH, "keras-import", part.name, keras.IMPORT_WORDS, name)


def _chat(part: Part, template: object) -> Iterator[Finding]:
    rows = template if isinstance(template, list) else [template]
    for row in rows:
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
