"""A parser claims a file whole, or the file is unidentified and refused; a pickle in ASCII is one under any name."""

import bz2
import gzip
import json
import lzma
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from lastgood.api.names import Severity
from lastgood.cli.app import main
from lastgood.verify.scan import Format, Policy, ScanResult, ScanVerdict
from lastgood.verify.scan.claims import CLAIMS
from lastgood.verify.scan.pickles.imports import ALLOWED
from tests.unit.verify.scan import samples
from tests.unit.verify.scan.test_files import gguf, hdf5, onnx

Scanned = Callable[..., ScanResult]
EVIL = samples.named("os", "system", "touch /canary")
ASCII = b"cos\nsystem\n(S'touch /canary'\ntR."
LZMA = [{"id": lzma.FILTER_LZMA1, "pb": 0}]
NUMBERS = np.random.default_rng(1).normal(size=5000).astype("f4").tobytes()


def refused(result: ScanResult) -> set[str]:
    return {found.rule for found in result.at_least(Severity.HIGH)}


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def png(*, behind: bytes = b"") -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    head = chunk(b"IHDR", struct.pack(">2L5B", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"") + behind


JPEG = b"\xff\xd8\xff\xe0\x00\x04JF\xff\xda\x00\x04\x00\x00\x12\xff\x00\x34\xff\xd0\x56\xff\xd9"
GIF = b"GIF89a\x01\0\x01\0\x80\0\0" + bytes(6) + b"!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
PIECE = field(1, field(1, "▁the".encode()) + b"\x15" + struct.pack("<f", -3.5) + b"\x18\x01")
TENSOR = struct.pack("<Q1sLQLQ", 1, b"w", 1, 8, 0, 0)
GGUF = gguf("a", "b", tensors=1, more=TENSOR)
GGUF += bytes(-len(GGUF) % 32 + 32)

CHECKPOINT = {  # as people publish one
    "config.json": b'{"model_type": "llama"}',
    "generation_config.json": b'{"temperature": 0.6}',
    "special_tokens_map.json": b'{"eos_token": "</s>"}',
    "tokenizer.json": json.dumps({"model": {"vocab": {chr(code): code for code in range(32, 3000)}}}).encode(),
    "model.safetensors.index.json": b'{"weight_map": {"a": "model.safetensors"}}',
    "model.safetensors": save({"a": np.arange(3.0)}),
    "vocab.txt": "[PAD]\n[unused0]\ncat\n##ing\nnaïve\n\u200b\n\u0085\n".encode(),
    "merges.txt": b"#version: 0.2\ni n\nt h\n",
    "README.md": b"---\nlicense: apache-2.0\n---\n# A model\n\nRead me.\n",
    "LICENSE": b"                    Apache License\n",
    "NOTICE": b"Copyright 2026\n",
    ".gitattributes": b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n",
    "chat_template.jinja": b"{% for m in messages %}{{ m['content'] }}{% endfor %}",
    "labels.txt": b"cat\ncow\ndog\n",
    "tokenizer.model": PIECE * 3 + field(2, b"\x0a\x00"),
    "qwen.tiktoken": b"IQ== 0\nIg== 1\n",
    "model.gguf": GGUF,
    "model.onnx": onnx("model.onnx.data"),
    "2d2d": onnx("model.onnx.data"),  # as a store names a checkpoint of one file
    "model.npz": samples.zipped({"a.npy": samples.saved(np.arange(3.0))}),
    "records.npy": samples.saved(np.zeros(3, dtype=[("a", "<i4"), ("b", "<f8", (2,))])),
    "model.h5": hdf5(b"weights"),
    "saved_model.pb": b"\x08\x01" + field(2, b"graph"),
    "figure.png": png(),
    "photo.jpg": JPEG,
    "moving.gif": GIF,
    "lightgbm.txt": b"tree\nversion=v4\n" + b"leaf_value=0.1 0.2\n" * 500,
}


def test_checkpoint_as_people_publish_one_is_left_alone(scanned: Scanned) -> None:
    result = scanned(CHECKPOINT)
    assert (result.findings, result.scanned) == ((), len(CHECKPOINT))


def test_every_format_has_somebody_who_answers_for_it() -> None:
    assert CLAIMS.keys() == set(Format)


UNIDENTIFIED = {
    "raw numbers": ("weights.bin", NUMBERS),
    "raw numbers without a name for it": ("weights", NUMBERS),
    "an optimiser's msgpack": ("opt.msgpack", b"\x82\xa1a\xcb" + bytes(8)),
    "a text that goes on as something else": ("README.md", b"read me\n" * 1000 + EVIL),
    "a text with a zero in it": ("notes.txt", b"a" * 5000 + b"\0"),
    "a text that is not UTF-8": ("notes.txt", b"a" * 5000 + b"\xff\xfe"),
    "a text that ends inside a character": ("notes.txt", b"a" * 5000 + b"\xe2\x82"),
    "a tokenizer with a pickle behind it": ("tokenizer.model", PIECE + EVIL),
    "a tokenizer of other fields": ("tokenizer.model", PIECE + field(9, b"x")),
    "a tokenizer of pieces that are none": ("tokenizer.model", field(1, field(7, b"x"))),
    "a graph with a pickle behind it": ("saved_model.pb", b"\x08\x01" + field(2, b"graph") + EVIL),
    "an HDF5 file with a pickle behind it": ("model.h5", hdf5(b"weights") + EVIL),
    "an HDF5 file without a superblock": ("model.h5", b"\x89HDF\r\n\x1a\n"),
    "a picture with a pickle behind it": ("figure.png", png(behind=EVIL)),
    "a picture that breaks off": ("figure.png", png()[:-5]),
    "a photo with a pickle behind it": ("photo.jpg", JPEG + EVIL),
    "an animation with a pickle behind it": ("moving.gif", GIF + EVIL),
    "a pickle that begins later": ("model.bin", b"\0" * 16 + EVIL),
    "lzma without a magic number": ("weights.lzma", lzma.compress(EVIL, lzma.FORMAT_ALONE, filters=LZMA)),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(UNIDENTIFIED))
def test_file_that_no_parser_claims_is_refused(scanned: Scanned, name: str) -> None:
    file, data = UNIDENTIFIED[name]
    assert "unidentified" in refused(scanned({file: data}))


BEHIND = {
    "safetensors": ("model.safetensors", save({"a": np.arange(3.0)}), "safetensors-header"),
    "gguf": ("model.gguf", GGUF, "gguf-header"),
    "onnx": ("model.onnx", onnx("a"), "onnx-broken"),
    "npy": ("a.npy", samples.saved(np.arange(3.0)), "numpy-size"),
    "records": ("a.npy", samples.saved(np.zeros(3, dtype=[("a", "<i4")])), "numpy-size"),
    "npy of objects": ("a.npy", samples.saved(samples.objects(1)), "pickle-import"),
    "zip": ("a.zip", samples.zipped({"a.txt": b"x"}), "zip-trailing-data"),
    "gzip": ("a.json.gz", gzip.compress(b"{}"), "archive-stream"),
    "zlib": ("a.z", zlib.compress(b"hello"), "archive-stream"),
    "pickle": ("a.pkl", pickle.dumps(1), "pickle-import"),
}


@pytest.mark.parametrize("payload", [EVIL, ASCII, NUMBERS], ids=["pickle", "ASCII", "numbers"])
@pytest.mark.parametrize("name", sorted(BEHIND))
def test_nothing_rides_along_behind_a_file(scanned: Scanned, name: str, payload: bytes) -> None:
    file, data, rule = BEHIND[name]
    assert refused(scanned({file: data})) == set()
    assert refused(scanned({file: data + payload})) & {rule, "pickle-trailing-data", "pickle-broken"}


def test_unknown_files_are_allowed_where_the_policy_says_so(scanned: Scanned) -> None:
    policy = Policy(formats=frozenset({"unknown", "zip"}))
    result = scanned({"weights.bin": NUMBERS}, policy=policy)
    assert [(found.rule, found.severity) for found in result.findings] == [("unidentified", Severity.LOW)]


def test_unknown_files_in_an_archive_are_not(scanned: Scanned) -> None:
    policy = Policy(formats=frozenset({"unknown", "zip"}))
    assert refused(scanned({"a.zip": samples.zipped({"weights.bin": NUMBERS})}, policy=policy)) == {"unidentified"}


def test_pickle_that_acts_is_found_where_unknown_files_are_allowed(scanned: Scanned) -> None:
    policy = Policy(formats=frozenset({"unknown", "text"}))
    assert "pickle-import" in refused(scanned({"weights.bin": ASCII, "x": b"\xff" + EVIL}, policy=policy))


LONG = 9 * 2**20  # more than a reader holds
SHAPES = {
    "as it is": ASCII,
    "INST": b"(S'touch /canary'\nios\nsystem\n.",
    "after a long text": b"S'" + b"a" * 2 * 2**20 + b"'\n0" + ASCII,
    "after a very long text": b"S'" + b"a" * LONG + b"'\n0" + ASCII,
    "after a very long text in other quotes": b'S"' + b"a" * LONG + b'"\n0' + ASCII,
    "after a very long unicode text": b"V" + b"a" * LONG + b"\n0" + ASCII,
    "after a very long number": b"F0." + b"0" * LONG + b"\n0" + ASCII,
    "after several long texts": (b"S'" + b"a" * 7 * 2**20 + b"'\n") * 12 + ASCII,
    "after many words": b"Vcat\n0" * 30_000 + ASCII,
    "after another pickle": b"I1\n." + ASCII,
    "after many others": b"N." * 40 + ASCII,
    "after a mark that is dropped": b"(0" * 100 + ASCII,
    "with a memo": b"cos\nsystem\np0\n0(Vtouch\np1\n0g0\n(g1\ntR.",
    "that is broken behind the call": ASCII[:-1] + b"~~~",
    "that breaks off": ASCII[:-1],
    "without a call, to its end": b"cos\nsystem\n.",
    "by importing what runs": b"cthis\ns\n",
    "by importing a program": b"cpip.__main__\nx\nand so on",
    "building an object": b"ccollections\nOrderedDict\n)R}S'a'\nS'b'\nsbcos\nsystem\n(Vx\ntR.",
}
NAMES = ["README.md", "config.json", "model", "weights.bin", "a.pkl", "tokenizer.model", ".gitattributes", "x.pt"]


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_pickle_in_ascii_is_a_pickle_however_it_begins(scanned: Scanned, shape: str) -> None:
    result = scanned({"README.md": SHAPES[shape]})
    assert "pickle-import" in refused(result)
    assert result.findings[0].severity is Severity.CRITICAL


@pytest.mark.parametrize("name", NAMES)
def test_pickle_in_ascii_is_a_pickle_whatever_its_name(scanned: Scanned, name: str) -> None:
    assert "pickle-import" in refused(scanned({name: SHAPES["after a long text"]}))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "zip": lambda data: samples.zipped({"notes.txt": data}),
    "deflated zip": lambda data: samples.zipped({"notes.txt": data}, 8),
    "tar": lambda data: samples.tarred({"notes.txt": data}),
    "zip in a zip": lambda data: samples.zipped({"a.zip": samples.zipped({"notes.txt": data})}),
    "gzip of two streams": lambda data: gzip.compress(data[:1]) + gzip.compress(data[1:]),
    "gzip with zeros between": lambda data: gzip.compress(data[:1]) + bytes(9) + gzip.compress(data[1:]),
}


@pytest.mark.parametrize("packing", sorted(PACKED))
@pytest.mark.parametrize("shape", ["as it is", "INST", "after another pickle"])
def test_pickle_in_ascii_is_a_pickle_when_packed(scanned: Scanned, packing: str, shape: str) -> None:
    result = scanned({"notes": PACKED[packing](SHAPES[shape])})
    assert "pickle-import" in refused(result)


@pytest.mark.parametrize("pack", [bz2.compress, lzma.compress], ids=["bzip2", "xz"])
def test_what_is_packed_in_a_way_that_we_do_not_open_is_refused(scanned: Scanned, pack: Any) -> None:
    assert refused(scanned({"a.joblib": pack(ASCII)})) == {"not-checked-compressed"}


def test_large_pickle_in_gzip_is_read_through_all_its_streams(scanned: Scanned) -> None:
    numbers = np.random.default_rng(1).integers(0, 255, 9 * 2**20, "u1").tobytes()
    first = gzip.compress(pickle.dumps(numbers), 1)
    assert scanned({"a.gz": first}).findings == ()
    assert "pickle-import" in refused(scanned({"a.gz": first + gzip.compress(EVIL)}))
    assert "pickle-trailing-data" in refused(scanned({"a.gz": first + b"no gzip"}))


TEXTS = {
    "words that look like opcodes": b"cat\ndog\nbird\nice\ncream\n.\n",
    "functions": b"cos\nsin\ntan\n",
    "a sentence": b"I am fine.\nThe quick brown fox (cos) jumps.\n",
    "a sentence that begins as a long text": b"The model was trained on 12 GPUs.\n" * 300,
    "a sentence that begins as a unicode text": b"Xylophone players read this first.\n" * 300,
    "a list": b"(1) first\n(2) second.\n",
    "one number a line": b"I1\nI2\nI3\n",
    "numbers": b"0.1 0.2\n0.3 0.4\n" * 1000,
    "a pickle of numbers alone": b"(lp0\nI1\naI2\na.",
    "single letters": b"N\nO\nP\n.",
    "a long line": b"V" + b"x" * LONG,
    "a chat": "Café — naïve 😀\n".encode() * 1000,
    "carriage returns": b"one\r\ntwo\r\n",
    "nothing but white space": b"  \n\t\n",
    "source code": b"import os\nos.system('x')\n",
    "an outline": b"]\n}\n)\n",
}


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_text_that_merely_looks_odd_is_a_text(scanned: Scanned, name: str) -> None:
    result = scanned({"notes.txt": TEXTS[name]})
    assert (result.findings, result.formats) == ((), ("text",))


@pytest.mark.parametrize("state", [b"}S'pop'\nI1\ns", b"(N}S'pop'\nI1\nst"], ids=["its dictionary", "by setattr"])
def test_pickle_that_changes_a_class_that_is_allowed_is_found(scanned: Scanned, state: bytes) -> None:
    result = scanned({"a.pkl": b"ccollections\nOrderedDict\n" + state + b"b."})
    assert [(found.rule, found.severity) for found in result.findings] == [("pickle-build", Severity.CRITICAL)]


def test_number_that_takes_all_memory_is_refused(scanned: Scanned) -> None:
    assert refused(scanned({"a.pkl": b"cbuiltins\nbytearray\n(I68719476736\ntR."})) == {"pickle-memory"}


def test_wildcard_admits_nothing_and_is_refused_with_a_sentence(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`numpy.*` admitted numpy.testing._private.utils.runstring, which is exec."""
    for name in ("numpy.*", "*", "numpy.core.*", "os.*.x", "numpy.testing*"):
        with pytest.raises(ValueError, match="wildcards are not taken"):
            Policy(imports=frozenset({name}))
        with pytest.raises(SystemExit) as ended:
            main(["scan", str(checkpoint), "--allow-import", name])
        assert ended.value.code == 2
        assert "Name each class in full" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["os", "", "a..b", "a.b c", ".a", "a." + "b" * 300])
def test_allowed_import_is_a_full_name(name: str) -> None:
    with pytest.raises(ValueError, match="in full"):
        Policy(imports=frozenset({name}))


def test_allowed_name_admits_nothing_beside_or_below_it(scanned: Scanned) -> None:
    policy = Policy(imports=frozenset({"acme.models.Net"}))
    for module, name in (
        ("acme.models", "Network"),
        ("acme.models.Net", "x"),
        ("acme", "models"),
        ("xacme.models", "Net"),
    ):
        assert "pickle-import" in refused(scanned({"a.pkl": samples.named(module, name, "x")}, policy=policy))
    assert scanned({"a.pkl": samples.named("acme.models", "Net", "x")}, policy=policy).verdict is ScanVerdict.NO_FINDING


def test_built_in_list_reaches_nothing_through_a_dotted_name(scanned: Scanned) -> None:
    data = b"\x80\x04" + samples.text("torch") + samples.text("_utils._rebuild_tensor") + b"\x93."
    assert "pickle-import" in refused(scanned({"a.pkl": data}))


CALLERS = {
    "getattr", "eval", "exec", "compile", "open", "load", "loads", "map", "filter", "type", "partial", "reduce", "vars",
    "attrgetter", "methodcaller", "itemgetter", "__import__", "import_module", "_load_from_bytes", "system", "Popen",
    "globals", "runstring", "find_class", "getattribute", "_rebuild_from_type_v2", "decode", "Fraction",
}  # fmt: skip


def test_built_in_list_holds_full_names_of_what_builds_data_and_nothing_that_calls() -> None:
    assert not {name for _, name in ALLOWED} & CALLERS
    assert not [pair for pair in ALLOWED if "*" in "".join(pair) or "." in pair[1]]


def test_names_that_python_2_wrote_lead_to_nothing_else() -> None:
    """An unpickler replaces old names at protocols below 3; none of ours is one that it would replace."""
    import _compat_pickle  # noqa: PLC0415 - private to pickle; only this test asks it

    assert not ALLOWED & _compat_pickle.NAME_MAPPING.keys()
    assert not {module for module, _ in ALLOWED} & _compat_pickle.IMPORT_MAPPING.keys()


@pytest.mark.parametrize("pair", sorted(pair for pair in ALLOWED if not pair[0].startswith("torch")))
def test_name_of_the_built_in_list_is_what_it_says(pair: tuple[str, str]) -> None:
    """None is a re-export of something of another package, where a later version could put something else."""
    import importlib  # noqa: PLC0415 - only here

    module, name = pair
    if module.startswith("numpy.core"):
        return  # the old name of numpy._core
    found = getattr(importlib.import_module(module), name)
    assert found.__module__.split(".")[0].strip("_") in {module.split(".")[0].strip("_"), "builtins"}
