"""Checkpoints as torch.save writes them, without torch: the layout of its notes on serialization, and pickles by hand.

Pickle 2, a persistent id for each storage, members stored and aligned to 64 bytes with an extra field, as PyTorch's
writer does; before 1.6, five pickles and the storages.
"""

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
WIDTHS = {
    "DoubleStorage": 8, "FloatStorage": 4, "HalfStorage": 2, "BFloat16Storage": 2, "LongStorage": 8, "IntStorage": 4,
    "ShortStorage": 2, "CharStorage": 1, "ByteStorage": 1, "BoolStorage": 1, "ComplexFloatStorage": 8,
    "ComplexDoubleStorage": 16, "QInt8Storage": 1, "QUInt8Storage": 1, "QInt32Storage": 4, "QUInt4x2Storage": 1,
    "QUInt2x4Storage": 1, "UntypedStorage": 1,
}  # fmt: skip


class Storage(NamedTuple):
    """Raw numbers: torch's name of their type, and their bytes."""

    kind: str
    data: bytes

    @property
    def numbers(self) -> int:
        return len(self.data) // WIDTHS[self.kind]


class Tensor:
    """A tensor of one dimension on a storage."""

    def __init__(self, storage: Storage) -> None:
        self.storage = storage

    def __reduce__(self) -> Any:
        torch = sys.modules["torch._utils"]
        arguments: Any = (self.storage, 0, (self.storage.numbers,), (1,), False, OrderedDict())
        if self.storage.kind == "UntypedStorage":  # as torch does for the types that have no storage class
            return torch.rebuild_v3, (*arguments, sys.modules["torch"].float8_e5m2, None)
        return torch.rebuild_v2, arguments


@contextmanager
def torch() -> Iterator[None]:
    """Let pickle find torch's names, by modules that hold nothing else."""
    main, utils, storage = (types.ModuleType(name) for name in ("torch", "torch._utils", "torch.storage"))
    for kind in WIDTHS:
        owner = storage if kind == "UntypedStorage" else main
        setattr(owner, kind, type(kind, (), {"__module__": owner.__name__}))
    for short in ("rebuild_v2", "rebuild_v3"):
        name = f"_{short.replace('_', '_tensor_')}"
        function = types.FunctionType((lambda *_: None).__code__, {}, name)
        function.__module__, function.__qualname__ = utils.__name__, name
        setattr(utils, name, function)
        setattr(utils, short, function)

    class Dtype:
        def __reduce__(self) -> str:
            return "float8_e5m2"

    Dtype.__module__ = "torch"
    main.float8_e5m2 = Dtype()  # type: ignore[attr-defined]  # a module made by hand
    sys.modules |= {"torch": main, "torch._utils": utils, "torch.storage": storage}
    try:
        yield
    finally:
        for name in ("torch", "torch._utils", "torch.storage"):
            del sys.modules[name]


def pickled(value: object, *, legacy: bool = False) -> tuple[bytes, list[Storage]]:
    """Return the pickle of a value with tensors, and its storages in the order of their keys."""
    storages: list[Storage] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, item: object) -> Any:
            if type(item) is not Storage:
                return None
            key = next((index for index, known in enumerate(storages) if known is item), len(storages))
            storages.extend([item] if key == len(storages) else [])
            place = sys.modules["torch.storage" if item.kind == "UntypedStorage" else "torch"]
            row = ("storage", getattr(place, item.kind), str(key), "cpu", item.numbers)
            return (*row, None) if legacy else row

    found = io.BytesIO()
    with torch():
        Pickler(found, 2).dump(value)
    return found.getvalue(), storages


def saved(value: object, *, folder: str = "archive", more: Mapping[str, bytes] | None = None) -> bytes:
    """Return what torch.save of today writes."""
    data, storages = pickled(value)
    members = {
        "data.pkl": data,
        ".format_version": b"1",
        ".storage_alignment": b"64",
        "byteorder": b"little",
        **{f"data/{key}": storage.data for key, storage in enumerate(storages)},
        "version": b"3\n",
        ".data/serialization_id": b"0636905143126944598713862203186300005092",
    }
    return archive({f"{folder}/{name}": body for name, body in members.items()} | dict(more or {}))


def archive(members: Mapping[str, bytes]) -> bytes:
    """Return a zip with stored members, each of them aligned to 64 bytes by an extra field of its own header."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w", zipfile.ZIP_STORED) as file:
        for name, body in members.items():
            row = zipfile.ZipInfo(name)
            padding = -(found.tell() + 30 + len(name) + 4) % 64
            row.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
            file.writestr(row, body)
    return found.getvalue()


def saved_before_1_6(value: object) -> bytes:
    """Return what torch.save wrote before 1.6, and writes with `_use_new_zipfile_serialization=False`."""
    data, storages = pickled(value, legacy=True)
    info = {"protocol_version": PROTOCOL, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    keys = [str(key) for key in range(len(storages))]
    head = [pickle.dumps(MAGIC, 2), pickle.dumps(PROTOCOL, 2), pickle.dumps(info, 2), data, pickle.dumps(keys, 2)]
    return b"".join([*head, *(struct.pack("<q", storage.numbers) + storage.data for storage in storages)])


def numbers(seed: int) -> dict[str, Tensor]:
    """Return a model's tensors: random, as trained, or quantised numbers, of a few of torch's types."""
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(2, 9))
    return {f"layer.{index}.weight": Tensor(_storage(rng, seed + index)) for index in range(layers)}


def _storage(rng: Any, which: int) -> Storage:
    size = int(rng.integers(1, 3000))
    normal = rng.normal(size=size) * 0.02
    whole = np.clip(np.round(rng.normal(size=size) * 20), -127, 127).astype("i1")
    half = (normal.astype("<f4").view("<u4") >> 16).astype("<u2")  # bfloat16
    makers = (
        ("FloatStorage", normal.astype("<f4")),
        ("HalfStorage", normal.astype("<f2")),
        ("BFloat16Storage", half),
        ("DoubleStorage", normal),
        ("LongStorage", rng.integers(0, 50_000, size)),
        ("CharStorage", whole),
        ("QInt8Storage", whole),
        ("QUInt8Storage", whole.view("u1")),
        ("ByteStorage", rng.integers(0, 256, size).astype("u1")),
        ("BoolStorage", rng.integers(0, 2, size).astype("u1")),
        ("UntypedStorage", rng.integers(0, 256, size).astype("u1")),
        ("ComplexFloatStorage", (normal + 1j * normal).astype("<c8")),
        ("IntStorage", rng.integers(-(2**31), 2**31, size).astype("<i4")),
        ("ShortStorage", rng.integers(-(2**15), 2**15, size).astype("<i2")),
        ("QInt32Storage", rng.integers(-(2**31), 2**31, size).astype("<i4")),
        ("QUInt4x2Storage", rng.integers(0, 256, size).astype("u1")),
    )
    kind, array = makers[which % len(makers)]
    return Storage(kind, array.tobytes())


def words(seed: int) -> dict[str, Tensor]:
    """Return tensors whose numbers spell what a pickle would: the smallest inputs that were taken for one."""
    rng = np.random.default_rng(seed)
    shapes = (
        b"\x96" + struct.pack("<Q", 2**60),
        b"V<\n",
        b"cos\nsystem\n(S'x'\ntR.",
        b"\x80\x04\x95",
        b"PK\x03\x04",
        b"\x8f" * 9,
    )
    return {
        f"w{index}": Tensor(Storage("ByteStorage", shape + rng.bytes(int(rng.integers(1, 500)))))
        for index, shape in enumerate(shapes)
    }
