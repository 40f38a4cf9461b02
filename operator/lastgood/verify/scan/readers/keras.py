"""What a Keras model may name: layers of Keras, and nothing that runs, reads or loads what it is given."""

import builtins
import re
from typing import Any, Final

UNSAFE_WORDS: Final = "it holds a layer that runs code when the model is loaded: a Lambda, a pickle, another model"
IMPORT_WORDS: Final = "Keras imports this to build the layer, and it is no layer of Keras"
# Bytecode; a pickle of torch; a model from wherever its path leads.
_UNSAFE: Final = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer")
_MODULES: Final = re.compile(r"(?:keras|tf_keras|tensorflow(?:\.python)?\.keras)(?:\.\w+)*|builtins")
_HELPERS: Final = frozenset({"utils", "saving", "export", "config"})  # they fetch, unpack, load, and allow more
_LOADERS: Final = frozenset(
    {"load_model", "get_file", "model_from_json", "clone_model", "enable_unsafe_deserialization"}
)
_FUNCTION: Final = "function"


def unsafe(settings: dict[str, Any]) -> str:
    """Return the class of an object that runs what a model holds, however much of its path is in its name."""
    named = (settings.get("class_name"), settings.get("registered_name"), _function(settings))
    return next((name for name in named if isinstance(name, str) and _last(name) in _UNSAFE), "")


def imported(settings: dict[str, Any]) -> str:
    """Return what Keras would import for an object and should not; empty if nothing."""
    kind, module = settings.get("class_name"), settings.get("module")
    if not (isinstance(kind, str) and isinstance(module, str) and "config" in settings):
        return ""
    name = _function(settings) or kind
    path = f"{module}.{name}"
    # Keras looks the whole path up, so a name with dots leads to another module than the one that is named.
    if "." in name or "." in str(settings.get("registered_name")) or _last(name) in _LOADERS:
        return path
    if _MODULES.fullmatch(module) is None or _HELPERS & set(path.split(".")):
        return path
    # A function of one's own has the module `builtins`, and Keras finds Python's own there.
    return path if module == "builtins" and (kind != _FUNCTION or hasattr(builtins, name)) else ""


def _function(settings: dict[str, Any]) -> str:
    name = settings.get("config")
    return name if settings.get("class_name") == _FUNCTION and isinstance(name, str) else ""


def _last(name: str) -> str:
    """Return what a name ends in: of `keras.layers.Lambda` and `package>Lambda` the class."""
    return re.split(r"[.>]", name)[-1]


def unsafe_in_json() -> bytes:
    """Return the pattern of such a class in JSON text."""
    return f'[".>](?:{"|".join(_UNSAFE)})"'.encode()


def import_in_json() -> bytes:
    """Return the pattern of such an import in JSON text; its parts are not held together there."""
    helpers, loaders = "|".join(sorted(_HELPERS)), "|".join(sorted(_LOADERS))
    module = rf'"module"\s?:\s?"(?!(?!(?:\w+\.)*(?:{helpers})\b)(?:{_MODULES.pattern})")[^"]{{0,80}}'
    name = rf'"(?:class_name|registered_name|config)"\s?:\s?"(?:\w{{0,80}}\.\w|(?:{loaders})")'
    return f"{module}|{name}".encode()
