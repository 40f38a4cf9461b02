"""The same order to a loader in other words: escapes, spaces, tags, padding, and findings that hide a graver one."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lastgood.api.names import Severity
from lastgood.verify.scan import ScanResult
from tests.unit.verify.scan.test_files import hdf5, rules

Scanned = Callable[..., ScanResult]
INJECTION = "{{ cycler.__init__.__globals__.os.popen('id').read() }}"


def grave(result: ScanResult) -> set[str]:
    return {found.rule for found in result.at_least(Severity.HIGH)}


@pytest.mark.parametrize(
    "text",
    [
        b"a: !<tag:yaml.org,2002:python/object/apply:os.system> [id]\n",
        b"%TAG !p! tag:yaml.org,2002:python/\n---\na: !p!object/apply:os.system [id]\n",
        b"a: !!pyth%6fn/object/apply:os.system [id]\n",
        b"a: !apply:os.system [id]\n",
        b"\xef\xbb\xbf!new:os.system [id]\n",
        b"a:\r    !new:os.system [id]\r",
        b"a: &b !new:os.system [id]\n",
        b"a: {_target_: os.system}\n",
        b"a:\n- _target_: os.system\n",
        b'"_target_": os.system\n',
        b'"\\x5ftarget_": os.system\n',
        b"? _target_\n: os.system\n",
        b"#" * (2**19 - 40) + b"\na: !new:os.system [id]\n",
        b"a:\n  _target_" + b" " * 300 + b": subprocess.Popen\n",
        b"k: &a _target_\nm:\n  *a : subprocess.Popen\n",
        b'a:\n  ? "_tar\\\n    get_"\n  : os.system\n',
        b"a:\n  ? |-\n    _target_\n  : os.system\n",
        b"a: &" + b"A" * 200 + b" !!py%74hon/object/apply:os.getpid []\n",
        b"a: &" + b"A" * 200 + b" !apply:os.system [id]\n",
        b"? [{_target_: os.system}]\n: 1\n",
        b"_target_: os.system\n_target_: null\n",
        b"a: 1\n---\nb:\n- &c\n  - *c\n  - {_target_: os.system}\n",
        b"auto_map: {AutoModel: modeling.X}\n",
        b"model:\n  target: subprocess.Popen\n  params: {args: id}\n",
        b"a: &a\n  target: subprocess.Popen\nb:\n  <<: *a\n  params: {args: id}\n",
        b"a: &a\n  b:\n    <<: *a\n    params: {args: id}\n  target: subprocess.Popen\n",
        b"class_path: subprocess.Popen\ninit_args: {args: id}\n",
    ],
)
def test_tag_of_yaml_that_calls_is_found_however_it_is_written(scanned: Scanned, text: bytes) -> None:
    assert grave(scanned({"a.yaml": text})) == {"yaml-code"}


@pytest.mark.parametrize("name", ["MLmodel", "a.yml", "A.YAML", "a.cfg", "a.conf"])
def test_tag_is_found_in_files_that_are_yaml_by_other_names(scanned: Scanned, name: str) -> None:
    assert "yaml-code" in grave(scanned({name: b"a: !!python/object/apply:os.system [id]\n"}))


def test_file_of_another_format_that_is_not_yaml_is_left_alone(scanned: Scanned) -> None:
    assert rules(scanned({"a.cfg": b"[net]\nbatch=1\n[a]\n\tx = !y\n", "a.conf": b"a { b = {{ c }}\n"})) == set()


@pytest.mark.parametrize(
    "text",
    [
        b"a: [\n",
        b"a: *b\n",
        b'a: "\\U00110000"\n',
        b"%YAML 1." + b"1" * 5000 + b"\n---\na\n",
        b"[" * 70 + b"]" * 70,
        b"- 1\n" * 51_000,
        b"a: " + b"b" * 2**19,
        b"a: &a " + b"b" * 400_000 + b"\nc: [" + b"*a," * 20 + b"]\n",
        b"x: &x {" + b",".join(b"k%d: 1" % number for number in range(2000)) + b"}\n" + b"- \n"
        b"y: [" + b"{<<: *x}," * 60 + b"]\n",
    ],
)
def test_yaml_that_cannot_be_read_or_is_beyond_the_bounds_is_refused(scanned: Scanned, text: bytes) -> None:
    found = scanned({"a.yaml": text})
    assert grave(found) <= {"config-unusual", "not-checked-config"}
    assert found.refusing(Severity.CRITICAL)


def test_yaml_whose_aliases_grow_without_end_is_read_in_time(scanned: Scanned) -> None:
    rows = b"".join(b"l%d: &l%d [%s]\n" % (n, n, b",".join([b"*l%d" % (n - 1)] * 9)) for n in range(1, 30))
    text = b"l0: &l0 [x]\n" + rows + b"auto_map: *l29\nchat_template: *l29\n"
    assert grave(scanned({"a.yaml": text})) == {"yaml-code"}


USUAL = b"""---
# a model card, and settings as trainers write them
language: [en, "de"]
tags:
- text-classification
trust_remote_code: false
model: &base
  target: https://a.example
  name: "digits"
  lr: 1.0e-4
  date: 2024-01-01
defaults:
  <<: *base
  params: {a: 1, b: ~}
text: |
  _target_: os.system
  !!python/object:x
widget:
- text: 'It''s !new'
  target: sequence.classification
none:
...
"""


def test_yaml_as_trainers_write_it_is_left_alone(scanned: Scanned) -> None:
    files = {"params.yaml": USUAL, "hparams.yml": b"", "b.yaml": b"\xef\xbb\xbfa: 1\r\nb: 2\r\n", "c.yaml": b"# x\n"}
    assert scanned(files).findings == ()


def test_code_that_yaml_trusts_is_found(scanned: Scanned) -> None:
    found = scanned({"a.yaml": b"handler:\n  trust_remote_code: yes\n  model_path: evil/repo\n"})
    assert grave(found) == {"config-trust-remote-code"}


def test_yaml_of_plain_values_is_left_alone(scanned: Scanned) -> None:
    text = b"a: !!str 1\nb: hello !world\nc: [1, 2]\nd: x!y\ne: _target_name\nf: '!'\ng: https://a.example/#!/b\n"
    assert rules(scanned({"a.yaml": text})) == set()


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (rb'{"class_name": "\u004cambda"}', "keras-lambda"),
        (b'{"class_name" : "Lambda"}', "keras-lambda"),
        (b'{"class_name": "TorchModuleWrapper"}', "keras-lambda"),
        (b'{"module":' + b" " * 2**21 + b'"os", "class_name": "system", "config": {}}', "keras-import"),
        (b'{"module": "keras.utils", "class_name": "get_file"}', "keras-import"),
        (b'{"class_name": "layers.Lambda", "module": "keras"}', "keras-lambda"),
        (b'{"registered_name": "keras>Lambda", "module": "keras"}', "keras-lambda"),
        (b'{"class_name": "function", "module": "keras", "config": "utils.unpack"}', "keras-import"),
        (b'{"class_name": "function", "config":' + b" " * 2**21 + b'"get_file"}', "keras-import"),
        (b'{"class_name": "function", "module": "keras", "config": "load_model"}', "keras-import"),
        (b'{"class_name": "saving.X"}', "keras-import"),
        (b'{"module": "keras.config", "config": "set_floatx"}', "keras-import"),
    ],
)
def test_layer_in_hdf5_is_found_however_it_is_written(scanned: Scanned, text: bytes, rule: str) -> None:
    assert rule in grave(scanned({"model.h5": hdf5(text)}))


def test_layers_of_keras_in_hdf5_are_left_alone(scanned: Scanned) -> None:
    text = b'{"module": "keras.layers", "class_name": "Dense", "config": {"name": "dense", "rate": 0.1},'
    text += b'"registered_name": null}, {"module": "keras.src.engine.functional", "config": "relu"}'
    assert rules(scanned({"model.h5": hdf5(text + b', {"module": "builtins"}, {"name": "lambda_1"}')})) == set()


@pytest.mark.parametrize(
    ("name", "data", "rule"),
    [
        ("saved_model.pb", b"\x08\x01\x12\x0f\x0a\x09WriteFileb\x02aa", "tensorflow-op"),
        ("saved_model.pbtxt", b'node { op: "WriteFile" }\n', "tensorflow-op"),
        ("saved_model.pbtxt", b'node { op: "Write" "\\x46ile" }\n', "tensorflow-op"),
        ("keras_metadata.pb", b'\x0a\x1a{"class_name":   "Lambda"}', "keras-lambda"),
    ],
)
def test_graph_that_touches_files_is_found_however_it_is_written(
    scanned: Scanned, name: str, data: bytes, rule: str
) -> None:
    assert rule in grave(scanned({name: data}))


@pytest.mark.parametrize(
    ("name", "settings", "rule"),
    [
        ("modules.json", [{"idx": 0, "type": "os.system"}], "config-code"),
        ("adapter_config.json", {"auto_mapping": {"parent_library": "evil"}}, "config-code"),
        ("a.json", {"model": {"target": "subprocess.Popen", "params": {"args": "id"}}}, "config-code"),
        ("a.json", {"class_path": "subprocess.Popen", "init_args": {"args": "id"}}, "config-code"),
        ("a.json", {"module": "keras.utils", "class_name": "get_file", "config": {}}, "keras-import"),
        ("a.json", {"module": "keras.src.saving", "class_name": "x", "config": {}}, "keras-import"),
        ("a.json", {"module": "keras", "class_name": "function", "config": "utils.get_file"}, "keras-import"),
        ("a.json", {"module": "keras", "class_name": "saving.X", "config": {}}, "keras-import"),
        ("a.json", {"module": "keras", "class_name": "activations.x", "config": {}}, "keras-import"),
        ("a.json", {"module": "keras.config", "class_name": "function", "config": "set_floatx"}, "keras-import"),
        ("a.json", {"module": "keras.x", "class_name": "X", "registered_name": "a.b", "config": {}}, "keras-import"),
        (
            "a.json",
            {"class_name": "function", "module": "keras.src", "config": "enable_unsafe_deserialization"},
            "keras-import",
        ),
        ("a.json", {"module": "keras.layers", "class_name": "X", "registered_name": "Lambda"}, "keras-lambda"),
        ("a.json", {"module": "keras.layers", "class_name": "function", "config": "Lambda"}, "keras-lambda"),
        ("a.json", {"module": "builtins", "class_name": "function", "config": "eval"}, "keras-import"),
        ("a.json", {"module": "keras", "class_name": "function", "config": "load_model"}, "keras-import"),
        ("a.json", {"module": "tensorflow.io", "class_name": "function", "config": "write_file"}, "keras-import"),
    ],
)
def test_settings_that_import_something_are_found(scanned: Scanned, name: str, settings: Any, rule: str) -> None:
    assert grave(scanned({name: json.dumps(settings).encode()})) == {rule}


def test_settings_that_import_what_they_should_are_left_alone(scanned: Scanned) -> None:
    files = {
        "modules.json": [{"idx": 0, "type": "sentence_transformers.models.Transformer"}],
        "adapter_config.json": {"auto_mapping": {"parent_library": "transformers.models.llama.modeling_llama"}},
        "a.json": {"module": "builtins", "class_name": "function", "config": "my_activation"},
        "b.json": {"module": "keras.layers", "class_name": "Dense", "config": {}},
        "c.json": {"module": None, "class_name": "Own", "registered_name": "my_package>Own", "config": {}},
        "d.json": {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {}},
    }
    assert rules(scanned({name: json.dumps(value).encode() for name, value in files.items()})) == set()


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2,"auto_map":{"a":"b.c"}}',
        b'{"auto_map":{"a":"b.c"},"auto_map":null}',
        b'{"a":NaN,"auto_map":{"a":"b.c"}}',
        b'{"a":' + b"[" * 70 + b"]" * 70 + b',"auto_map":{"a":"b.c"}}',
        b'{"a":[' + b"1," * 400_000 + b'1],"auto_map":{"a":"b.c"}}',
        b'{"auto_map":{"a":"b.c"}}' + b" " * 2**23,
    ],
)
def test_code_in_settings_that_loaders_read_and_we_find_unusual_is_refused(scanned: Scanned, text: bytes) -> None:
    assert grave(scanned({"preprocessor_config.json": text})) & {"config-code", "config-unusual", "not-checked-config"}


def test_numbers_of_a_training_run_that_diverged_are_no_reason_to_refuse(scanned: Scanned) -> None:
    assert grave(scanned({"all_results.json": b'{"loss": NaN}', "x.index.json": b'{"a":' + b"[" * 70 + b"]" * 70})) == (
        set()
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"chat_template": " " * 300_000 + INJECTION},
        {"chat_template": [{"name": str(index), "template": "x"} for index in range(30)] + [{"template": INJECTION}]},
        [{"chat_template": INJECTION}] + [{"chat_template": "https://a.example"}] * 50,
    ],
)
def test_injection_behind_much_that_is_harmless_is_found(scanned: Scanned, settings: Any) -> None:
    assert grave(scanned({"tokenizer_config.json": json.dumps(settings).encode()})) & {
        "template-injection",
        "template-size",
    }


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.yaml", b"\n" * 2**20),
        ("a.yaml", b"&" * 2**20),
        ("a.yaml", b"- " * 2**19),
        ("config.json", b'{"' + b'\\"' * 2**20),
        ("config.json", b'{"a":1,"a":2,"b":' * 60 + b"1" + b"}" * 60),
    ],
)
@pytest.mark.timeout(20)
def test_text_that_makes_a_pattern_go_back_again_and_again_is_read_in_time(
    scanned: Scanned, name: str, data: bytes
) -> None:
    assert scanned({name: data}).seconds < 15
