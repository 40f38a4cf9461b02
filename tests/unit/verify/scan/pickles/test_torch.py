"""Checkpoints in PyTorch's layout: honest ones pass whatever their numbers, and nothing hides among the storages."""

import io
import pickle
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood.api.names import Severity
from lastgood.verify.scan import Policy, ScanResult, scan
from lastgood.verify.scan.pickles.sandbox import Storage as Declared
from lastgood.verify.scan.pickles.storages import width
from lastgood.verify.scan.pickles.torchfile import folder_of
from tests.unit.verify.scan import samples
from tests.unit.verify.scan.torch_samples import (
    WIDTHS,
    Storage,
    Tensor,
    archive,
    numbers,
    pickled,
    saved,
    saved_before_1_6,
    words,
)

Scanned = Callable[..., ScanResult]
EVIL = samples.named("os", "system", "touch /canary")
ASCII = b"cos\nsystem\n(S'x'\ntR."
MODEL = {"weight": Tensor(Storage("FloatStorage", struct.pack("<4f", 1, 2, 3, 4)))}


def rules(result: ScanResult) -> set[str]:
    return {found.rule for found in result.at_least(Severity.HIGH)}


@pytest.mark.parametrize("block", range(6))
def test_checkpoint_of_torch_save_is_not_refused_for_its_numbers(checkpoint: Path, block: int) -> None:
    """300 of them: fifty in each block; trained, random and quantised numbers, and numbers that read as opcodes."""
    for seed in range(block * 50, block * 50 + 50):
        value = words(seed) if seed % 5 == 4 else numbers(seed)
        body = saved_before_1_6(value) if seed % 3 == 2 else saved({"model": value, "epoch": seed, "lr": [0.1, None]})
        (checkpoint / f"{seed}.{('pt', 'pth', 'bin', 'ckpt')[seed % 4]}").write_bytes(body)
    result = scan(checkpoint)
    assert (result.scanned, result.findings) == (50, ())


@pytest.mark.parametrize("kind", sorted(WIDTHS))
def test_every_type_of_storage_is_known_with_its_size(scanned: Scanned, kind: str) -> None:
    place = "torch.storage" if kind == "UntypedStorage" else "torch"
    assert width(Declared(kind=f"{place}.{kind}", count=1)) == WIDTHS[kind]
    assert scanned({"m.pt": saved({"a": Tensor(Storage(kind, bytes(WIDTHS[kind]) * 5))})}).findings == ()


def test_storage_that_two_tensors_share_is_declared_once(scanned: Scanned) -> None:
    shared = Storage("FloatStorage", bytes(16))
    assert scanned({"m.pt": saved({"a": Tensor(shared), "b": Tensor(shared)})}).findings == ()


def test_empty_storage_is_a_storage(scanned: Scanned) -> None:
    assert scanned({"m.pt": saved({"a": Tensor(Storage("FloatStorage", b""))})}).findings == ()


def honest() -> dict[str, bytes]:
    """Return the members of an honest archive."""
    data, storages = pickled(MODEL)
    return {"m/data.pkl": data, "m/data/0": storages[0].data, "m/version": b"3\n"}


def declared(kind: bytes, count: int, key: bytes = b"0", *, times: int = 1) -> bytes:
    """Return a data.pkl that asks for a storage by hand."""
    ids = b"(X\x07\x00\x00\x00storage" + kind + b"X" + struct.pack("<L", len(key)) + key + b"X\x03\x00\x00\x00cpu"
    return b"\x80\x02]" + (ids + b"J" + struct.pack("<l", count) + b"tQa") * times + b"."


def before(keys: object) -> list[object]:
    """Return the five values of a file before 1.6, with nothing declared."""
    return [0x1950A86A20F9469CFC6C, 1001, {}, {}, keys]


FLOAT, BYTE, UNTYPED = b"ctorch\nFloatStorage\n", b"ctorch\nByteStorage\n", b"ctorch.storage\nUntypedStorage\n"
ATTACKS: dict[str, tuple[bytes, str]] = {
    "a storage longer than declared": (archive(honest() | {"m/data/0": bytes(20)}), "torch-storage"),
    "a storage shorter than declared": (archive(honest() | {"m/data/0": bytes(12)}), "torch-storage"),
    "a storage that is missing": (archive({"m/data.pkl": pickled(MODEL)[0]}), "torch-storage"),
    "a pickle as a storage that nobody declared": (archive(honest() | {"m/data/1": EVIL}), "pickle-import"),
    "bytes as a storage that nobody declared": (archive(honest() | {"m/data/1": b"\x01\x02"}), "unidentified"),
    "a member that the layout does not know": (archive(honest() | {"m/extra/x": b"\x01\x02"}), "unidentified"),
    "a pickle named version": (archive(honest() | {"m/version": EVIL}), "pickle-import"),
    "a pickle of protocol 0 named version": (archive(honest() | {"m/version": ASCII}), "pickle-import"),
    "a second data.pkl in another directory": (archive(honest() | {"n/data.pkl": EVIL}), "pickle-import"),
    "a second, harmless data.pkl whose storages are pickles": (
        archive(honest() | {"n/data.pkl": declared(BYTE, len(EVIL)), "n/data/0": EVIL}),
        "pickle-import",
    ),
    "a second data.pkl below": (
        archive(honest() | {"m/x/data.pkl": pickle.dumps(1, 2), "m/data/1": EVIL}),
        "pickle-import",
    ),
    "a data.pkl in capitals": (archive(honest() | {"m/DATA.PKL": EVIL}), "zip-duplicate"),
    "a storage in capitals": (archive(honest() | {"m/DATA/0": EVIL}), "zip-duplicate"),
    "a first member that leads torch to another directory": (
        archive({"n/notes.txt": b"x"} | honest() | {"m/data/0": bytes([1]) * 16}),
        "unidentified",
    ),
    "a member outside of the directory": (archive(honest() | {"data.pkl": EVIL}), "pickle-import"),
    "a storage declared twice with other sizes": (
        archive({"m/data.pkl": declared(BYTE, 4)[:-1] + declared(BYTE, 8)[3:], "m/data/0": bytes(8)}),
        "pickle-persistent-id",
    ),
    "a storage declared twice with other types": (
        archive({"m/data.pkl": declared(BYTE, 4)[:-1] + declared(FLOAT, 4)[3:], "m/data/0": bytes(4)}),
        "pickle-persistent-id",
    ),
    "a storage of an unknown type": (
        archive({"m/data.pkl": declared(b"ctorch\nEvilStorage\n", 4), "m/data/0": bytes(4)}),
        "torch-storage",
    ),
    "a storage of a type of another module": (
        archive({"m/data.pkl": declared(b"cevil\nByteStorage\n", 4), "m/data/0": bytes(4)}),
        "torch-storage",
    ),
    "a storage whose type is a word": (
        archive({"m/data.pkl": declared(b"X\x0b\x00\x00\x00ByteStorage", 4), "m/data/0": bytes(4)}),
        "pickle-persistent-id",
    ),
    "a storage of less than nothing": (
        archive({"m/data.pkl": declared(BYTE, -4), "m/data/0": b""}),
        "pickle-persistent-id",
    ),
    "a storage whose key leads elsewhere": (
        archive({"m/data.pkl": declared(BYTE, 4, b"../data.pkl"), "m/data/0": bytes(4)}),
        "unidentified",
    ),
    "a data.pkl that declares itself": (
        archive({"m/data.pkl": declared(BYTE, 10, b"x.pkl"), "m/data/x.pkl": EVIL}),
        "pickle-import",
    ),
    "a data.pkl that breaks off after its declarations": (
        archive({"m/data.pkl": declared(BYTE, len(EVIL))[:-1], "m/data/0": EVIL}),
        "pickle-import",
    ),
    "a second pickle in data.pkl": (archive(honest() | {"m/data.pkl": pickled(MODEL)[0] + EVIL}), "pickle-import"),
    "a call in data.pkl": (
        archive(honest() | {"m/data.pkl": pickled(MODEL)[0][:-1] + b"0" + EVIL[2:]}),
        "pickle-import",
    ),
    "a compressed storage": (samples.zipped(honest(), zipfile.ZIP_DEFLATED), "torch-storage"),
    "encryption flags": (samples.encrypted(archive(honest())), "zip-encrypted"),
    "a wrong checksum": (samples.wrong_checksum(archive(honest())), "zip-crc"),
    "another name in the member's own header": (
        samples.renamed_inside(archive(honest()), b"m/data/0", b"m/data/1"),
        "zip-mismatch",
    ),
    "a pickle in front": (EVIL + archive(honest()), "pickle-import"),
    "a pickle of protocol 0 in front": (ASCII + archive(honest()), "polyglot"),
    "a pickle behind": (archive(honest()) + EVIL, "zip-trailing-data"),
    "a zip behind a zip": (archive(honest()) + archive({"m/data.pkl": EVIL}), "polyglot"),
    "code beside the storages": (archive(honest() | {"m/code/__torch__.py": b"import os\n"}), "torch-code"),
    "constants that make it TorchScript": (archive(honest() | {"m/constants.pkl": pickle.dumps((), 2)}), "torch-code"),
    "before 1.6: a pickle behind": (saved_before_1_6(MODEL) + EVIL, "torch-storage"),
    "before 1.6: a pickle in place of the storages": (saved_before_1_6(MODEL)[:-24] + EVIL, "torch-storage"),
    "before 1.6: other counts": (saved_before_1_6(MODEL)[:-24] + struct.pack("<q", 3) + bytes(12), "torch-storage"),
    "before 1.6: nothing declared": (
        b"".join(pickle.dumps(part, 2) for part in before(["0"])) + EVIL,
        "torch-storage",
    ),
    "before 1.6: keys that are no list": (
        b"".join(pickle.dumps(part, 2) for part in before(7)) + EVIL,
        "torch-storage",
    ),
    "storages asked for outside of any archive": (pickled(MODEL)[0], "pickle-persistent-id"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(ATTACKS))
def test_nothing_hides_among_the_storages(scanned: Scanned, name: str) -> None:
    data, rule = ATTACKS[name]
    assert rule in rules(scanned({"model.pt": data}))


def test_two_members_of_one_name_are_found(scanned: Scanned) -> None:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as file:
        for name, body in honest().items():
            file.writestr(name, body)
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("m/data.pkl", EVIL)
    assert {"zip-duplicate", "pickle-import"} <= rules(scanned({"model.pt": found.getvalue()}))


def test_second_name_in_an_extra_field_is_found(scanned: Scanned) -> None:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as file:
        for name, body in honest().items():
            row = zipfile.ZipInfo(name)
            row.extra = struct.pack("<HHBL", 0x7075, 14, 1, 0) + b"m/evil.pk"
            file.writestr(row, body)
    assert "zip-broken" in rules(scanned({"model.pt": found.getvalue()}))


def test_sizes_of_64_bits_in_the_members_own_header_are_compared(scanned: Scanned) -> None:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as file:
        for name, body in honest().items():
            with file.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(body)
        starts = [member.header_offset for member in file.infolist()]
    whole = bytearray(found.getvalue())
    for start in starts:  # Python 3.11.2 writes the sizes into 32 bits as well, and then those are what counts
        whole[start + 18 : start + 26] = b"\xff" * 8
    data = bytes(whole)
    assert scanned({"model.pt": data}).findings == ()
    size = data.index(struct.pack("<HHQQ", 1, 16, 16, 16)) + 4
    assert "zip-mismatch" in rules(scanned({"model.pt": data[:size] + bytes([99]) + data[size + 1 :]}))


def test_layout_of_torch_before_0_2_is_refused(scanned: Scanned) -> None:
    members = {"sys_info": pickle.dumps({}), "pickle": pickle.dumps({}), "storages": pickle.dumps(1) + b"\xff" * 9}
    assert rules(scanned({"model.pt": samples.tarred({**members, "tensors": pickle.dumps(0)})}))


def test_class_that_is_allowed_in_data_pkl_is_allowed(scanned: Scanned) -> None:
    data = pickled(MODEL)[0][:-1] + b"0\x80\x02cacme\nArguments\n)\x81."
    body = archive(honest() | {"m/data.pkl": data})
    assert rules(scanned({"m.pt": body})) == {"pickle-import"}
    assert scanned({"m.pt": body}, policy=Policy(imports=frozenset({"acme.Arguments"}))).findings == ()


def test_thousand_storages_take_one_child(scanned: Scanned, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    real = subprocess.Popen

    def start(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return real(*arguments, **options)

    monkeypatch.setattr("lastgood.verify.scan.pickles.sandbox.subprocess.Popen", start)
    tensors = {str(index): Tensor(Storage("ByteStorage", b"V<\n" + bytes([index % 256]))) for index in range(1000)}
    assert scanned({"m.pt": saved(tensors)}).findings == ()
    assert len(started) <= 2  # data.pkl, and the archive itself, which begins as an opcode does


def tar_with(members: dict[str, bytes], behind: bytes) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as file:
        for name, data in members.items():
            row = tarfile.TarInfo(name)
            row.size = len(data)
            file.addfile(row, io.BytesIO(data))
    return found.getvalue() + behind


def test_what_follows_the_end_of_a_tar_is_found(scanned: Scanned) -> None:
    assert scanned({"a.tar": tar_with({"a.txt": b"x"}, b"")}).findings == ()
    assert rules(scanned({"a.tar": tar_with({"a.txt": b"x"}, EVIL)})) == {"tar-trailing-data"}


def test_archive_of_two_directories_is_in_nobodys_layout() -> None:
    names = [[f"{letter}/x", "m/data.pkl", "m/data/0"] for letter in "abcdefghijkl"]
    assert [folder_of(listed) for listed in names] == [None] * len(names)
    assert folder_of(["m/data.pkl", "m/data/0"]) == "m/"
