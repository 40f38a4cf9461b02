"""What torch.save writes: a pickle that declares storages, and the storages, which are numbers and never unpickled.

Format: "Serialized file format for torch.save" of PyTorch's notes on serialization, and torch/serialization.py. A
storage is raw because the archive's own pickle declares it: of its declared size, and nothing else. Whatever is not
declared is judged as any other file.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from lastgood.api.names import Severity
from lastgood.verify.scan.containers.part import Codec, Part
from lastgood.verify.scan.formats import ARRAY, Format
from lastgood.verify.scan.pickles.pickles import judge
from lastgood.verify.scan.pickles.sandbox import Asked, Storage, ask
from lastgood.verify.scan.pickles.storages import width
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import Finding, finding

_DATA: Final = "data.pkl"
_CODE, _CONSTANTS = "code/", "constants.pkl"
_SMALL: Final = 128
# The other members of an archive; each is read as a few characters, or not at all.
_NOTES: Final = {
    "version": re.compile(rb"\d{1,9}\n?"),
    "byteorder": re.compile(rb"little|big"),
    ".format_version": re.compile(rb"\d{1,9}\n?"),
    ".storage_alignment": re.compile(rb"\d{1,9}\n?"),
    ".data/serialization_id": re.compile(rb"[0-9a-fA-F]{1,64}"),
}


def folder_of(names: Sequence[str]) -> str | None:
    """Return the one directory of an archive in torch's layout, with its slash, or None if it is not in that layout.

    torch takes the directory from the first member's name, and finds members whatever the case of their letters. So
    nothing is in the layout where another directory, another data.pkl or another spelling would make readers differ.
    """
    folders = {name.partition("/")[0] for name in names}
    pickles = [name for name in names if name.casefold().rpartition("/")[2] == _DATA]
    if len(folders) != 1 or len({name.casefold() for name in names}) != len(names):
        return None
    folder = f"{folders.pop()}/"
    return folder if pickles == [folder + _DATA] else None


@dataclass(kw_only=True)
class Layout:
    """An archive in torch's layout, and what its data.pkl asks for.

    Attributes:
        archive: its name, as findings show it.
        folder: its one directory, with the slash.
        declared: the storages, by key; empty if the pickle is not to be believed.
        seen: the keys whose member was there.
    """

    archive: str
    folder: str
    asked: Asked
    declared: Mapping[str, Storage]
    seen: set[str] = field(default_factory=set)

    @classmethod
    def read(cls, archive: Part, data: Part, context: Context) -> "Layout":
        """Ask the data.pkl of an archive."""
        asked = ask(data, context)
        folder = data.name.removeprefix(f"{archive.name}!").removesuffix(_DATA)
        return cls(archive=archive.name, folder=folder, asked=asked, declared=believed(asked))

    def claim(self, part: Part, context: Context) -> Iterator[Finding]:
        """Take a member for the layout if it belongs to it; then no other rule looks at its bytes."""
        name = part.name.removeprefix(f"{self.archive}!{self.folder}")
        key = name.removeprefix("data/")
        if name == _DATA:
            yield from judge(part, self.asked, context.policy.imports)
            part.format = Format.TORCH
        elif key != name and key in self.declared:
            self.seen.add(key)
            part.format = Format.TORCH
            yield from _storage(part, self.declared[key])
        elif name.startswith(_CODE) or name == _CONSTANTS:
            message = "it is part of a TorchScript program, which runs when it is loaded"
            yield finding(Severity.HIGH, "torch-code", part.name, message, name)
        elif name in _NOTES and part.size <= _SMALL and _NOTES[name].fullmatch(part.read(0, _SMALL)):
            part.format = Format.TORCH

    def missing(self) -> Iterator[Finding]:
        """Yield what was declared and is not there: torch reads beyond what it has, or fails."""
        gone = sorted(self.declared.keys() - self.seen)
        if gone:
            message = "its data.pkl declares storages that are not in the archive"
            yield finding(Severity.HIGH, "torch-storage", self.archive, message, ", ".join(gone[:10]))


def _storage(part: Part, storage: Storage) -> Iterator[Finding]:
    size = width(storage)
    if part.head.startswith(ARRAY):
        message = "it is declared as a storage and begins as an array of numpy, which may hold a pickle"
        yield finding(Severity.HIGH, "torch-storage", part.name, message)
    if size is None:
        message = "it is declared as a storage of a type that torch does not have, so its size is not known"
        yield finding(Severity.HIGH, "torch-storage", part.name, message, storage.kind)
    elif part.place.codec is not Codec.STORED:
        message = "it is declared as a storage and compressed, which torch.save never does"
        yield finding(Severity.HIGH, "torch-storage", part.name, message)
    elif part.size != size * storage.count:
        message = "it does not have the size that its data.pkl declares"
        evidence = f"{part.size} and not {size * storage.count} bytes"
        yield finding(Severity.HIGH, "torch-storage", part.name, message, evidence)


def believed(asked: Asked) -> Mapping[str, Storage]:
    """Return the storages that a pickle declares, if it was read to its end and is the only one of its member.

    What it imports is judged by itself. One that breaks off could be read on by another loader, and declare anything.
    """
    whole = not (asked.error or asked.escaped or asked.full) and asked.streams == 1
    return {key: row for key, row in asked.storages.items() if key.isascii() and key.isdecimal()} if whole else {}
