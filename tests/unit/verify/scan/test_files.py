"""Formats and settings: what a file is, what its name says, and what a loader would import because of it."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood.api.names import Severity
from lastgood.verify.scan import Policy, ScanLimits, ScanResult, ScanVerdict, scan
from lastgood.verify.values import Limits
from tests.unit.verify.scan import samples

Scanned = Callable[..., ScanResult]


def rules(result: ScanResult) -> set[str]:
    return {found.rule for found in result.findings}


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("model.safetensors", b"\x80\x04N.", "format-mismatch"),
        ("model.gguf", b"PK\x05\x06" + b"\0" * 18, "format-mismatch"),
        ("config.json", b"\x7fELF" + b"\0" * 60, "format-mismatch"),
        ("libevil.so", b"\x7fELF" + b"\0" * 60, "executable"),
        ("weights.bin", b"MZ" + b"\0" * 60, "executable"),
        ("weights.dat", b"#!/bin/sh\nrm -rf /\n", "executable"),
        ("modeling.py", b"import os\n", "code-file"),
        ("model.onnx", b"\xff\xff", "format-mismatch"),
        ("model.7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 20, "not-checked-compressed"),
        ("model.pt", b"PK\x03\x04" + b"\0" * 40, "zip-broken"),
    ],
)
def test_file_that_is_not_what_it_says_is_found(scanned: Scanned, name: str, data: bytes, rule: str) -> None:
    assert rule in rules(scanned({name: data}))


def test_only_the_formats_of_the_policy_are_allowed(scanned: Scanned) -> None:
    policy = Policy(formats=frozenset({"safetensors", "json"}))
    result = scanned({"a.pkl": b"\x80\x04N.", "config.json": b"{}"}, policy=policy)
    assert [(found.rule, found.file) for found in result.findings] == [("format-not-allowed", "a.pkl")]


@pytest.mark.parametrize(
    ("name", "settings", "rule"),
    [
        ("config.json", {"auto_map": {"AutoModel": "modeling.Evil"}}, "config-code"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["x.Y", None]}}, "config-code"),
        ("config.json", {"inner": [{"trust_remote_code": True}]}, "config-trust-remote-code"),
        ("model.json", {"_target_": "os.system"}, "config-code"),
        ("model.json", {"class_name": "Lambda", "config": {}}, "keras-lambda"),
        ("model.json", {"module": "os", "class_name": "function", "config": "system"}, "keras-import"),
        ("tokenizer_config.json", {"chat_template": "{{ ''.__class__.__mro__ }}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "{{ x|attr('\\x5f\\x5fclass\\x5f\\x5f') }}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "{{ x['_'*2 ~ 'class'] }}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "{{ x['__' ~ 'class' ~ '__'] }}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "{{ lipsum.__globals__ }}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "{% include '/etc/passwd' %}"}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": [{"template": "{{ os.system() }}"}]}, "template-injection"),
        ("tokenizer_config.json", {"chat_template": "hello\u202e"}, "template-hidden-text"),
        ("tokenizer_config.json", {"chat_template": "send it to https://evil.example"}, "template-address"),
    ],
)  # fmt: skip
def test_settings_that_run_something_are_found(scanned: Scanned, name: str, settings: Any, rule: str) -> None:
    assert rule in rules(scanned({name: json.dumps(settings).encode()}))


def test_template_of_a_real_model_is_left_alone(scanned: Scanned) -> None:
    template = (
        "{% set ns = namespace(found=false) %}{% for message in messages %}{% if message['role'] == 'user' %}"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}{% endif %}"
        "{% endfor %}{% if tools is not none %}{{ tools | tojson(indent=4) }}{% endif %}"
        "{{ raise_exception('Roles must alternate') }}"
    )
    assert scanned({"tokenizer_config.json": json.dumps({"chat_template": template}).encode()}).findings == ()


@pytest.mark.parametrize("text", [b'{"a":1,"a":2}', b"[" * 200_000, b'{"a":NaN}', b"{"])
def test_settings_that_are_no_plain_json_are_unusual(scanned: Scanned, text: bytes) -> None:
    found = scanned({"config.json": text}).findings
    assert [(row.rule, row.severity) for row in found] == [("config-unusual", Severity.HIGH)]


def test_lambda_of_a_keras_archive_is_found(scanned: Scanned) -> None:
    inner = json.dumps({"config": {"layers": [{"class_name": "Lambda", "module": "keras.layers", "config": {}}]}})
    assert "keras-lambda" in rules(scanned({"model.keras": samples.zipped({"config.json": inner.encode()})}))


def hdf5(content: bytes) -> bytes:
    """Return a superblock of version 0 before some content."""
    widths = bytes([0, 0, 0, 0, 0, 8, 8, 0])
    return b"\x89HDF\r\n\x1a\n" + widths + bytes(8) + struct.pack("<4Q", 0, 2**64 - 1, 56 + len(content), 0) + content


@pytest.mark.parametrize("before", [0, 2**20 - 30])
def test_lambda_in_hdf5_is_found_wherever_it_is(scanned: Scanned, before: int) -> None:
    data = hdf5(b"\0" * before + b'{"layers": [{"class_name": "Lambda"}]}')
    assert rules(scanned({"model.h5": data})) == {"keras-lambda"}


def test_yaml_that_makes_objects_is_found(scanned: Scanned) -> None:
    assert rules(scanned({"model.yaml": b"a: !!python/object/apply:os.system [id]\n"})) == {"yaml-code"}


def test_operations_of_tensorflow_that_touch_files_are_found(scanned: Scanned) -> None:
    assert rules(scanned({"saved_model.pb": b"\x08\x01\x12\x0b\x0a\x09WriteFile"})) == {"tensorflow-op"}


def gguf(key: str, text: str, *, tensors: int = 0, more: bytes = b"") -> bytes:
    pair = b"".join(struct.pack("<Q", len(part.encode())) + part.encode() for part in (key,)) + struct.pack("<L", 8)
    value = struct.pack("<Q", len(text.encode())) + text.encode()
    return b"GGUF" + struct.pack("<LQQ", 3, tensors, 1) + pair + value + more


def test_template_in_gguf_is_looked_at(scanned: Scanned) -> None:
    data = gguf("tokenizer.chat_template", "{{ cycler.__init__.__globals__.os.popen('id').read() }}")
    assert rules(scanned({"model.gguf": data})) == {"template-injection"}


def gguf_array(key: str, inner: int, *texts: bytes) -> bytes:
    """Return a GGUF with one pair, an array."""
    rows = b"".join(struct.pack("<Q", len(text)) + text for text in texts)
    value = struct.pack("<LLQ", 9, inner, len(texts)) + rows
    data = b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + struct.pack("<Q", len(key)) + key.encode() + value
    return data + b"\0" * (-len(data) % 32)


@pytest.mark.parametrize("key", ["tokenizer.chat_template", "tokenizer.chat_template.tool_use"])
def test_template_in_an_array_of_gguf_is_looked_at(scanned: Scanned, key: str) -> None:
    data = gguf_array(key, 8, b"x", b"{{ cycler.__init__.__globals__.os.popen('id').read() }}")
    assert rules(scanned({"model.gguf": data})) == {"template-injection"}


def test_template_of_gguf_that_is_no_text_is_refused(scanned: Scanned) -> None:
    number = (
        b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + struct.pack("<Q", 13) + b"chat_template" + struct.pack("<LL", 4, 1)
    )
    for data in (gguf_array("tokenizer.chat_template", 0), gguf_array("a.chat_template", 9), number + bytes(3)):
        assert rules(scanned({"model.gguf": data})) == {"gguf-header"}


def test_names_of_templates_in_gguf_are_left_alone(scanned: Scanned) -> None:
    assert rules(scanned({"model.gguf": gguf_array("tokenizer.chat_templates", 8, b"tool_use", b"rag")})) == set()


@pytest.mark.parametrize("name", ["chat_template.jinja", "chat_template.jinja2", "t.j2", "T.J2"])
def test_template_in_a_file_of_its_own_is_looked_at(scanned: Scanned, name: str) -> None:
    assert rules(scanned({name: b"{{ ''.__class__ }}"})) == {"template-injection"}


def test_gguf_of_a_healthy_model_is_left_alone(scanned: Scanned) -> None:
    tensor = struct.pack("<Q1sLQLQ", 1, b"w", 1, 4, 0, 0) + b"\0" * 16
    assert scanned({"m.gguf": gguf("tokenizer.chat_template", "{{ x }}", tensors=1, more=tensor)}).findings == ()


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<LQQ", 3, 0, 2**40),
        b"GGUF" + struct.pack("<LQQ", 9, 0, 0),
        b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + struct.pack("<Q", 2**60),
        b"GGUF" + struct.pack("<LQQ", 3, 0, 1) + struct.pack("<Q1sLLQ", 1, b"a", 9, 9, 2**50),
        gguf("a", "b", tensors=1, more=struct.pack("<Q1sLQLQ", 1, b"w", 1, 4, 0, 2**40)),
        b"GGUF\x03",
    ],
)
def test_gguf_that_breaks_a_rule_is_found(scanned: Scanned, data: bytes) -> None:
    assert rules(scanned({"model.gguf": data})) == {"gguf-header"}


def field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


def onnx(location: str) -> bytes:
    entry = field(1, b"location") + field(2, location.encode())
    tensor = bytes([13 << 3 | 2, len(entry)]) + entry
    return b"\x08\x08" + field(2, b"test") + field(7, field(5, tensor))


def test_weights_outside_the_directory_are_found(scanned: Scanned) -> None:
    assert rules(scanned({"model.onnx": onnx("../../etc/passwd")})) == {"onnx-external-path"}
    assert rules(scanned({"model.onnx": onnx("model.onnx.data")})) == set()


def test_archive_that_leads_out_of_its_directory_is_found(scanned: Scanned) -> None:
    assert "archive-path" in rules(scanned({"m.tar": samples.tarred({"../../evil": b"x"})}))
    assert "archive-path" in rules(scanned({"m.zip": samples.zipped({"../evil": b"x"})}))


def test_zip_that_unpacks_to_far_more_is_found(scanned: Scanned) -> None:
    data = samples.zipped({"a.bin": b"\0" * 250_000_000}, 8)
    assert "archive-bomb" in rules(scanned({"m.zip": data}))


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_no_checkpoint_holds_is_found(checkpoint: Path, kind: str) -> None:
    (checkpoint / "a.json").write_text("{}")
    (checkpoint / "x").symlink_to("/etc/passwd") if kind == "link" else os.mkfifo(checkpoint / "x")
    result = scan(checkpoint)
    assert (result.verdict, rules(result)) == (ScanVerdict.FINDING, {"refused-entry"})


def test_empty_directory_is_not_a_pass(checkpoint: Path) -> None:
    assert scan(checkpoint).verdict is ScanVerdict.FINDING


def test_what_cannot_be_read_is_not_a_finding(checkpoint: Path, tmp_path: Path) -> None:
    assert scan(tmp_path / "gone").verdict is ScanVerdict.UNREADABLE
    (checkpoint / "a.json").write_text("{}")
    assert scan(checkpoint, limits=ScanLimits(tree=Limits(max_bytes=1))).verdict is ScanVerdict.UNREADABLE


def test_file_that_changes_meanwhile_is_unreadable(checkpoint: Path) -> None:
    (checkpoint / "a.json").write_text("{}")
    (checkpoint / "b.json").write_text("{}")

    def change(_: int) -> None:
        (checkpoint / "b.json").write_text("[1]")

    result = scan(checkpoint, progress=change)
    assert result.verdict is ScanVerdict.UNREADABLE


def test_many_findings_are_bounded_and_the_gravest_are_kept(scanned: Scanned) -> None:
    files = {f"{index}.json": b'{"auto_map": {"a": "b"}}' for index in range(60)} | {
        "a.pkl": samples.named("os", "system", "x")
    }
    result = scanned(files, limits=ScanLimits(findings=5))
    assert (len(result.findings), result.findings[0].rule, result.left_out) == (5, "pickle-import", 56)
