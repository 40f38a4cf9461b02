"""Which format a file has, by its first bytes, and which formats its name allows.

The bytes decide, never the name: a loader that is handed `model.safetensors` may still unpickle it.
"""

import re
from enum import StrEnum
from typing import Final

HEAD: Final = 4096  # bytes that tell a format


class Format(StrEnum):
    """What a file is, judged by its bytes."""

    EMPTY = "empty"
    SAFETENSORS = "safetensors"
    PICKLE = "pickle"
    ZIP = "zip"  # also what torch.save, numpy.savez and Keras 3 write
    TAR = "tar"
    GZIP = "gzip"
    ZLIB = "zlib"
    COMPRESSED = "compressed"  # bzip2, xz, zstd, lz4, 7z, rar: not looked into
    GGUF = "gguf"
    ONNX = "onnx"
    SENTENCEPIECE = "sentencepiece"  # by name only: tokenizer.model
    HDF5 = "hdf5"
    NUMPY = "numpy"
    PROTOBUF = "protobuf"  # by name only: saved_model.pb
    JSON = "json"
    TEXT = "text"
    IMAGE = "image"
    EXECUTABLE = "executable"
    UNKNOWN = "unknown"
    TORCH = "torch"  # a member that PyTorch's layout accounts for; never told by bytes


ARRAY: Final = b"\x93NUMPY"  # numpy.load opens any zip, and reads each member that begins so as an array
_MAGIC: Final = (
    (b"PK\x03\x04", Format.ZIP),
    (b"PK\x05\x06", Format.ZIP),
    (b"\x1f\x8b", Format.GZIP),
    (b"GGUF", Format.GGUF),
    (b"\x89HDF\r\n\x1a\n", Format.HDF5),
    (ARRAY, Format.NUMPY),
    (b"\x7fELF", Format.EXECUTABLE),
    (b"MZ", Format.EXECUTABLE),
    (b"\xca\xfe\xba\xbe", Format.EXECUTABLE),
    (b"\xfe\xed\xfa", Format.EXECUTABLE),
    (b"\xcf\xfa\xed\xfe", Format.EXECUTABLE),
    (b"\xce\xfa\xed\xfe", Format.EXECUTABLE),
    (b"#!", Format.EXECUTABLE),
    (b"\0asm", Format.EXECUTABLE),
    (b"!<arch>\n", Format.EXECUTABLE),  # objects for a linker, or a Debian package
    (b"BZh", Format.COMPRESSED),
    (b"\xfd7zXZ\0", Format.COMPRESSED),
    (b"]\0\0", Format.COMPRESSED),  # lzma
    (b"\x28\xb5\x2f\xfd", Format.COMPRESSED),
    (b"\x04\x22\x4d\x18", Format.COMPRESSED),
    (b"7z\xbc\xaf\x27\x1c", Format.COMPRESSED),
    (b"Rar!", Format.COMPRESSED),
    (b"\x89PNG\r\n\x1a\n", Format.IMAGE),
    (b"\xff\xd8\xff", Format.IMAGE),
    (b"GIF8", Format.IMAGE),
)
_ZLIB: Final = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
OLD_JOBLIB: Final = re.compile(rb"ZF[\s0-9a-fA-FxXL_+-]{19} ?(?=[\x08\x18\x28\x38\x48\x58\x68\x78])")
"""The header that joblib wrote before 0.10, up to a zlib stream: a length, and a blank that it passes over."""
_PIECES: Final = 0x0A  # the protobuf tag of the first piece; no pickle begins with it
_ONNX: Final = re.compile(rb"\x08[\x01-\x20][\x12\x1a\x22\x28\x32\x3a\x42]")  # ir_version, then another field
_PROTO: Final = 0x80  # the PROTO opcode; no UTF-8 text begins with it
_MAX_PROTO: Final = 0x10  # beyond today's protocol 5, so that an unknown one is looked at and found broken
CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f]")

_ARCHIVES: Final = frozenset({Format.PICKLE, Format.ZIP, Format.TAR, Format.GZIP, Format.ZLIB})
_TEXT: Final = frozenset({Format.TEXT, Format.JSON, Format.EMPTY})
ALLOWED_BY_NAME: Final = {
    ".safetensors": frozenset({Format.SAFETENSORS}),
    ".gguf": frozenset({Format.GGUF}),
    ".onnx": frozenset({Format.ONNX}),
    ".h5": frozenset({Format.HDF5}),
    ".hdf5": frozenset({Format.HDF5}),
    ".keras": frozenset({Format.ZIP, Format.HDF5}),
    ".npy": frozenset({Format.NUMPY}),
    ".npz": frozenset({Format.ZIP}),
    ".zip": frozenset({Format.ZIP}),
    ".tar": frozenset({Format.TAR}),
    ".gz": frozenset({Format.GZIP}),
    ".pt": _ARCHIVES,
    ".pth": _ARCHIVES,
    ".ckpt": _ARCHIVES | {Format.HDF5},
    ".pb": frozenset({Format.PROTOBUF}),
    ".json": frozenset({Format.JSON}),
    ".jsonl": _TEXT,
    ".txt": _TEXT,
    ".md": _TEXT,
    ".yaml": _TEXT,
    ".yml": _TEXT,
    ".toml": _TEXT,
    ".csv": _TEXT,
    ".jinja": _TEXT,
    ".jinja2": _TEXT,
    ".j2": _TEXT,
    ".ipynb": frozenset({Format.JSON}),
    ".py": _TEXT | {Format.EXECUTABLE},
    ".sh": _TEXT | {Format.EXECUTABLE},
    ".png": frozenset({Format.IMAGE}),
    ".jpg": frozenset({Format.IMAGE}),
    ".jpeg": frozenset({Format.IMAGE}),
    ".gif": frozenset({Format.IMAGE}),
}
PICKLE_NAMES: Final = frozenset(
    {".pkl", ".pickle", ".p", ".pt", ".pth", ".ckpt", ".bin", ".joblib", ".sav", ".dill", ".cloudpickle", ".dat"}
)
_RAW_NAMES: Final = frozenset({".bin", ".dat", ".p"})  # pickles go by these, and raw numbers and texts too


def detect(head: bytes, suffix: str) -> Format:
    """Return the format that the first bytes tell; the suffix counts only for formats without a magic number."""
    if not head:
        return Format.EMPTY
    if head[4:9] == b"\0\0\0\0{":  # after the length of a header below 4 GiB; 0x80 may be a part of it
        return Format.SAFETENSORS
    if head[0] == _PROTO and len(head) > 1 and head[1] <= _MAX_PROTO:
        return Format.PICKLE
    if head[257:262] == b"ustar":
        return Format.TAR
    if OLD_JOBLIB.match(head):
        return Format.ZLIB
    return _by_magic(head) or _by_name(head, suffix)


def _by_magic(head: bytes) -> Format | None:
    return next((format_ for magic, format_ in _MAGIC if head.startswith(magic)), None)


def _by_name(head: bytes, suffix: str) -> Format:
    if suffix == ".model" and head[0] == _PIECES:
        return Format.SENTENCEPIECE
    if suffix in (".onnx", ".pb") and head[0] in b"\x08\x0a\x12\x1a\x22\x2a\x32\x3a":  # a protobuf tag, fields 1-7
        return Format.ONNX if suffix == ".onnx" else Format.PROTOBUF
    if not suffix and _ONNX.match(head):  # a checkpoint of one file has no name of its own in a store
        return Format.ONNX
    found = _without_magic(head)
    # A pickle of protocol 0 or 1 has no magic number; what is named like one and is none is broken.
    return Format.PICKLE if found in (Format.TEXT, Format.UNKNOWN) and suffix in PICKLE_NAMES - _RAW_NAMES else found


def _without_magic(head: bytes) -> Format:
    if CONTROL.search(head) or not _is_utf8(head):
        return Format.ZLIB if head.startswith(_ZLIB) else Format.UNKNOWN
    return Format.JSON if head.lstrip()[:1] in (b"{", b"[") else Format.TEXT


def _is_utf8(head: bytes) -> bool:
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > 0 and error.start >= len(head) - 3 and len(head) == HEAD  # cut inside a character
    return True
