"""Docker archives of one layer, written by hand: that needs no image builder, and no root."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
import tempfile
from pathlib import Path
from typing import Any

PAUSE = "localhost/lastgood-pause:1"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def write_pause(program: Path, target: Path) -> None:
    """Write the image PAUSE: one static program."""
    with tempfile.TemporaryDirectory() as folder:
        layer = Path(folder) / "layer.tar"
        with tarfile.open(layer, "w") as files:
            _add(files, "pause", program.read_bytes(), 0o755)
        _write(PAUSE, layer, {"Entrypoint": ["/pause"]}, target)


def write_root(tag: str, root: Path, target: Path) -> None:
    """Write the image of a root file system."""
    _write(tag, root, {"Env": [PATH], "Cmd": ["/bin/sh"]}, target)


def _write(tag: str, layer: Path, how: dict[str, Any], target: Path) -> None:
    with layer.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    machine = platform.machine()
    config = {
        "architecture": ARCHITECTURES.get(machine, machine),
        "os": "linux",
        "config": how,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "lastgood tests"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]
    with tarfile.open(target, "w") as files:
        files.add(layer, "layer.tar")
        _add(files, "config.json", json.dumps(config).encode(), 0o644)
        _add(files, "manifest.json", json.dumps(manifest).encode(), 0o644)


def _add(files: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(content), mode
    files.addfile(member, io.BytesIO(content))


def rename(source: Path, tag: str, target: Path) -> None:
    """Write the same image under another name."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            if member.name == "repositories":  # the names again, as Docker had them before manifest.json
                continue
            content = old.extractfile(member)
            if member.name == "manifest.json" and content is not None:
                manifest = [{**image, "RepoTags": [tag]} for image in json.load(content)]
                _add(new, member.name, json.dumps(manifest).encode(), 0o644)
            else:
                new.addfile(member, content)
