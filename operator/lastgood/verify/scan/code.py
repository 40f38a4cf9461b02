"""Code beside weights: which files are code, and the one digest of all of them, by which a person vouches for them.

What a serving stack runs is decided by names: TorchServe takes a handler, transformers a modeling file, Triton
`model.py`, MLflow a directory `code` and lists of packages, Python itself `sitecustomize.py`. Programs are told by
their first bytes too. What somebody's code reads as a text and then runs cannot be told from a text.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from lastgood.api.names import Severity
from lastgood.api.specs.scan_rules import CODE_FILE, EXECUTABLE, UNKNOWN_CODE
from lastgood.verify.manifest import manifest_digest
from lastgood.verify.reading.printable import printable
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.formats import Format
from lastgood.verify.scan.values import Finding, anomaly, finding
from lastgood.verify.values import FileEntry

MAX_FILES: Final = 10_000
_NAMED: Final = 3  # files in a message
_LONGEST: Final = 48  # characters of each of them

_SUFFIXES: Final = frozenset(
    [
        # Python: sources, compiled, zipapps and packages, and what its loaders compile.
        ".py", ".pyw", ".pyc", ".pyo", ".pyd", ".pyx", ".pxd", ".pxi", ".pyz", ".pyzw", ".ipynb", ".whl", ".egg",
        ".egg-link",
        # Native: programs and libraries, and the sources that torch and others compile when code asks for them.
        ".so", ".dll", ".dylib", ".exe", ".com", ".a", ".o", ".ko", ".c", ".cc", ".cpp", ".cxx", ".h", ".hh", ".hpp",
        ".hxx", ".c++", ".h++", ".inl", ".inc", ".tpp", ".ipp", ".cuinc", ".cu",
        ".cuh", ".hip", ".cl", ".ptx", ".cubin", ".metal", ".ll", ".s", ".asm", ".f90", ".go", ".rs",
        ".swift", ".zig",
        # Shells, and what Windows runs.
        ".sh", ".bash", ".zsh", ".fish", ".ksh", ".csh", ".command", ".bat", ".cmd", ".ps1", ".psm1", ".psd1", ".vbs",
        ".wsf", ".msi", ".scr",
        # Virtual machines.
        ".jar", ".war", ".ear", ".nar", ".class", ".java", ".kt", ".kts", ".scala", ".groovy", ".gradle", ".clj",
        ".cs", ".csx", ".fsx", ".wasm", ".wat", ".beam", ".ex", ".exs", ".dex", ".apk",
        # Scripts.
        ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".node", ".rb", ".pl", ".pm", ".php", ".phar", ".lua",
        ".luac", ".tcl", ".awk", ".r", ".rmd", ".jl",
        # Builds and packages.
        ".mk", ".cmake", ".bzl", ".nix", ".deb", ".rpm",
    ]
)  # fmt: skip
_NAMES: Final = frozenset(
    [
        # Builds.
        "makefile", "gnumakefile", "dockerfile", "containerfile", "jenkinsfile", "vagrantfile", "procfile",
        "rakefile", "gemfile", "snakefile", "justfile", "sconstruct", "sconscript", "cmakelists.txt", "build.bazel",
        "build", "build.ninja", "meson.build", "module.bazel", "workspace", "workspace.bazel", "binding.gyp",
        "pom.xml", "cargo.toml", "go.mod", "docker-compose.yml",
        "docker-compose.yaml", "compose.yml", "compose.yaml", "bentofile.yaml", "bentofile.yml", "bento.yaml",
        "cog.yaml",
        # Settings of a server that name an entry point, which it imports and calls.
        "mlmodel", "model-settings.json", "serving.properties", "config.pbtxt",
        # Packages that a server installs before it loads a model; a package runs what it likes.
        "pyproject.toml", "setup.cfg", "pipfile", "pipfile.lock", "poetry.lock", "uv.lock", "pdm.lock",
        "constraints.txt", "python_env.yaml", "conda.yaml", "conda.yml", "environment.yaml", "environment.yml",
        "packages.txt", "apt.txt", "pip.conf", "entry_points.txt", "package.json", "package-lock.json", "yarn.lock",
        "gemfile.lock", "postbuild", "conda_env.yaml", "conda_env.yml", "pixi.toml", "uv.toml", "pip.ini",
        # What a process reads when it starts in this directory.
        ".bashrc", ".bash_profile", ".bash_login", ".profile", ".zshrc", ".zshenv", ".zprofile", ".env", ".envrc",
        ".flaskenv", ".rprofile", ".renviron", ".npmrc", ".condarc", ".pdbrc", ".gdbinit", ".lldbinit",
        "uwsgi.ini", "gunicorn.conf.py", "logging.ini", "logging.conf", "supervisord.conf", "pyvenv.cfg",
    ]
)  # fmt: skip
_PATTERNS: Final = re.compile(
    r".*requirements.*\.(?:txt|in|lock)|[^.]*requirements[^.]*"
    r"|pylock(?:\.[^.]+)?\.toml"
    r"|(?:dockerfile|containerfile|makefile)[.-].+|.+\.(?:dockerfile|containerfile|makefile)"
    r"|.+\.so(?:\.\d+)+"  # a library with its version
)
_BELOW: Final = "requirements"  # a directory of lists, which include one another under any name
_MANIFEST: Final = ["mar-inf", "manifest.json"]  # of TorchServe; others have a file of that name too


def rule_of(part: Part) -> str | None:
    """Return the rule that a part falls under as code, or None if it is none.

    A program is one by its bytes, unless its name says that it is a script; the numbers of torch are none.
    """
    if part.format is Format.TORCH:
        return None
    named = part.suffix in _SUFFIXES or part.base in _NAMES or _PATTERNS.fullmatch(part.base) or _placed(part)
    if part.format is Format.EXECUTABLE and not (named and part.head.startswith(b"#!")):
        return EXECUTABLE
    return CODE_FILE if named else None


def _placed(part: Part) -> bool:
    """Tell whether it is code by the directory that it is in."""
    *above, _ = parts = part.parts
    return _BELOW in above or parts[-2:] == _MANIFEST


@dataclass(kw_only=True)
class Code:
    """The files of one scan that are code; `whole` until there is one whose bytes are not known."""

    whole: bool = True
    _rows: list[tuple[str, FileEntry]] = field(default_factory=list)

    def add(self, rule: str, part: Part) -> None:
        """Take one in, with the sha256 of its bytes."""
        if len(self._rows) >= MAX_FILES:
            self.whole = False
            return
        entry = _entry(part)
        self.whole = self.whole and entry is not None
        self._rows.append((rule, entry or FileEntry(path=_path(part), size=part.size, sha256="")))

    @property
    def digest(self) -> str:
        """The digest of all of them, as of a directory that holds nothing else; empty where there is none.

        The paths are a part of it: a file that is harmless under one name may be run under another.
        """
        if not self._rows:
            return ""
        return manifest_digest(entry for _, entry in self._rows) if self.whole else UNKNOWN_CODE

    def findings(self, allowed: frozenset[str]) -> Iterator[Finding]:
        """Yield one finding for all programs and one for all other code, so that they crowd out nothing."""
        digest = self.digest
        for rule, what in _WHAT.items():
            paths = sorted(entry.path for known, entry in self._rows if known == rule)
            if not paths:
                continue
            evidence = f"{digest} ({_listed(entry.path for _, entry in self._rows)})"
            if digest in allowed:
                yield anomaly(Severity.LOW, rule, paths[0], f"it is {what}; the policy allows it", evidence)
            else:
                message = f"it is {what}. {_remedy(digest)}. In all: {_listed(paths)}"
                yield finding(Severity.HIGH, rule, paths[0], message, evidence)


_WHAT: Final = {
    EXECUTABLE: "a program, which has no place among weights",
    CODE_FILE: "code beside the weights, which a server may run or install",
}


def _remedy(digest: str) -> str:
    if digest == UNKNOWN_CODE:
        return "Not all of the code could be read, so it cannot be allowed"
    return f"To allow exactly this code: --allow-code {digest}, or scan.allowedCode of a trust policy"


def _listed(paths: Iterable[str]) -> str:
    names = sorted(paths)
    more = ", …" if len(names) > _NAMED else ""
    shown = ", ".join(printable(name, _LONGEST) for name in names[:_NAMED])
    return f"{len(names)} {'file' if len(names) == 1 else 'files'}: {shown}{more}"


def _path(part: Part) -> str:
    """Return the path as it is hashed: as it is, unless it holds what no JSON can, or the sign between archives.

    Two paths never become one: a backslash is escaped wherever anything is.
    """
    return "!".join(_escaped(name) for name in part.trail)


def _escaped(name: str) -> str:
    return printable(name, 10 * len(name) + 1).replace("!", r"\x21")  # no character takes more when it is escaped


def _entry(part: Part) -> FileEntry | None:
    """Return what a manifest has of a part, or None if not all of its bytes can be read here."""
    if not part.whole:
        return None
    hashed, size = hashlib.sha256(), 0
    for chunk in part.chunks():
        hashed.update(chunk)
        size += len(chunk)
    return FileEntry(path=_path(part), size=size, sha256=hashed.hexdigest()) if size == part.size else None
