"""Container images without a registry: a Debian base with Python, what a Dockerfile makes of it, and its wheels.

Everything is cached outside the tree under the hash of what it is made from.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.cluster import to_stderr
from tests.cluster.made import archive, dockerignore, packages
from tests.cluster.paths import cache, locked, made
from tests.cluster.plane import build as programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SUITE = "bookworm"
PYTHON = "3.11"  # of that suite: wheels are fetched for it
PACKAGES = ("python3", "python3-venv", "python-is-python3", "ca-certificates")
CLEAN = ("make", "python3")
DPKG = ("path-exclude=/usr/share/man/*", "path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/doc/*")
REPOSITORY = "localhost/lastgood-base"
WHEELS = "/wheels"  # where a build finds the wheels: give it `wheel_arguments(folder)`


@dataclass(frozen=True, kw_only=True)
class Image:
    """An image in a file, and the name it has once it is loaded."""

    tag: str
    archive: Path


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a build is made from."""

    context: Path
    dockerfile: Path
    base: Image
    build_args: Mapping[str, str]
    volumes: Mapping[Path, str]

    def options(self) -> list[str]:
        """Return the arguments of `buildah build`."""
        arguments = [f"--build-arg={key}={value}" for key, value in self.build_args.items()]
        volumes = [f"--volume={folder}:{place}:ro" for folder, place in self.volumes.items()]
        return [*arguments, *volumes, f"--file={self.dockerfile}", str(self.context)]

    def digest(self) -> str:
        """Return the sha256 over all of it."""
        content = context_digest(self.context, self.dockerfile)
        return _hash(content, sorted(self.build_args.items()), _folders(self.volumes))


@dataclass(frozen=True, kw_only=True)
class Wheels:
    """What lets `pip` install from a folder inside a build, where no index can be reached."""

    volumes: Mapping[Path, str] = field(default_factory=dict)
    build_args: Mapping[str, str] = field(default_factory=dict)


def base_image(progress: Callable[[str], None] = to_stderr) -> Image:
    """Return a Debian with Python, made with mmdebstrap."""
    digest = _hash(SUITE, PACKAGES, DPKG)
    tag = f"{REPOSITORY}:{digest[:12]}"
    target = _images() / f"base-{digest}.tar"
    with _made_once(target, progress) as partial:
        if partial:
            packages.require(packages.IMAGES, progress)
            _make_base(tag, partial, progress)
    return Image(tag=tag, archive=target)


def clean_root(progress: Callable[[str], None] = to_stderr) -> Path:
    """Return a tar archive of what every Debian has, with `make` and Python and nothing else."""
    target = _images() / f"clean-{_hash(SUITE, CLEAN)}.tar"
    with _made_once(target, progress) as partial:
        if partial:
            packages.require(packages.IMAGES, progress)
            label = "making a clean Debian (only the first time, about a minute)"
            retries = '--aptopt=Acquire::Retries "5"'
            argv = ["mmdebstrap", "--variant=minbase", f"--include={','.join(CLEAN)}", retries, "--format=tar"]
            programs.run([*argv, SUITE, str(partial)], label, progress)
    return target


def pause_image(progress: Callable[[str], None] = to_stderr) -> Image:
    """Return the image that holds the namespaces of pods. A node of ours has it already."""
    program = programs.programs(progress) / "pause"
    target = _images() / f"pause-{_hash(program.read_bytes())}.tar"
    with _made_once(target, progress) as partial:
        if partial:
            archive.write_pause(program, partial)
    return Image(tag=archive.PAUSE, archive=target)


def build(  # as many as a build has inputs
    context: Path,
    dockerfile: Path,
    tag: str,
    build_args: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
    *,
    base: Image | None = None,
    progress: Callable[[str], None] = to_stderr,
) -> Path:
    """Build a Dockerfile with buildah; return a Docker archive of the image.

    Args:
        context: the folder that COPY copies from.
        dockerfile: takes its base image as `ARG BASE_IMAGE`.
        tag: such as `localhost/lastgood:test`.
        build_args: more build arguments.
        volumes: folders of this machine and where they are, read-only, during the build.
        base: instead of `base_image()`.
        progress: gets a sentence now and then.
    """
    base = base or base_image(progress)
    arguments = {"BASE_IMAGE": base.tag, **(build_args or {})}
    work = _Work(
        context=context,
        dockerfile=dockerfile,
        base=base,
        build_args=arguments,
        volumes=volumes or {},
    )
    target = _images() / f"image-{_hash(work.digest(), tag)}.tar"
    with _made_once(target, progress) as partial:
        if partial:
            packages.require(packages.IMAGES, progress)
            _build(work, Image(tag=tag, archive=partial), progress)
    return target


def wheelhouse(requirements: Path, progress: Callable[[str], None] = to_stderr) -> Path:
    """Return a folder with the wheels of a requirements file, for the Python of the base image.

    Args:
        requirements: the file; pip refuses it if a hash is missing.
        progress: gets a sentence now and then.
    """
    target = cache() / "wheels" / _hash(requirements.read_bytes(), PYTHON)
    with _made_once(target, progress) as partial:
        if partial:
            argv = programs.pip("download", requirements, f"--python-version={PYTHON}", "--dest", str(partial))
            programs.run(argv, f"fetching the wheels of {requirements.name}", progress)
    return target


def wheel_arguments(folder: Path) -> Wheels:
    """Return the volumes and build arguments that make `pip` use this folder only."""
    arguments = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": WHEELS}
    return Wheels(volumes={folder: WHEELS}, build_args=arguments)


def context_digest(context: Path, dockerfile: Path) -> str:
    """Return the sha256 over what the build can see: the Dockerfile, and the names, modes and bytes of the context."""
    digest = hashlib.sha256(dockerfile.read_bytes())
    for path in dockerignore.files(context, dockerfile):
        digest.update(f"\0{path.relative_to(context)}\0{path.lstat().st_mode}\0".encode())
        digest.update(_content(path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    if path.is_symlink():
        return os.fsencode(path.readlink())
    return hashlib.sha256(path.read_bytes()).digest() if stat.S_ISREG(path.lstat().st_mode) else b""


def _make_base(tag: str, target: Path, progress: Callable[[str], None]) -> None:
    with tempfile.TemporaryDirectory(dir=_images()) as folder:
        root = Path(folder) / "root.tar"
        options = [f"--dpkgopt={option}" for option in DPKG]
        chosen = ["--variant=apt", f"--include={','.join(PACKAGES)}", '--aptopt=Acquire::Retries "5"', *options]
        label = "making a Debian base image (only the first time, about a minute)"
        programs.run(["mmdebstrap", *chosen, SUITE, str(root)], label, progress)
        archive.write_root(tag, root, target)


def _build(work: _Work, image: Image, progress: Callable[[str], None]) -> None:
    with _buildah() as buildah:
        load = [*buildah, "pull", "--quiet", f"docker-archive:{work.base.archive}"]
        programs.run(load, "loading the base image", progress)
        fixed = ["--isolation=chroot", "--pull=never", "--layers=false", f"--tag={image.tag}"]
        programs.run([*buildah, "build", *fixed, *work.options()], f"building {image.tag}", progress)
        push = [*buildah, "push", "--quiet", image.tag, f"docker-archive:{image.archive}:{image.tag}"]
        programs.run(push, f"saving {image.tag}", progress)


@contextmanager
def _buildah() -> Iterator[list[str]]:
    """Yield buildah with a storage of its own, in mounts of its own: the host's images are not ours to touch."""
    with tempfile.TemporaryDirectory(dir=_images(), ignore_cleanup_errors=True) as folder:
        storage = [f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs"]
        policy = Path(folder) / "policy.json"
        policy.write_text(json.dumps({"default": [{"type": "insecureAcceptAnything"}]}))
        yield ["unshare", "--mount", "--propagation", "slave", "buildah", *storage, f"--signature-policy={policy}"]


@contextmanager
def _made_once(target: Path, progress: Callable[[str], None]) -> Iterator[Path | None]:
    """Yield a name to make a file or folder under, or None if it is there; it gets its real name when it is whole."""
    with locked(made(target.parent) / f".{target.name}.lock", progress):
        if target.exists():
            yield None
            return
        partial = target.with_name(f".partial-{target.name}")
        _remove(partial)
        try:
            yield partial
            partial.rename(target)
        finally:
            _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def _folders(volumes: Mapping[Path, str]) -> Sequence[tuple[str, str, list[tuple[str, int]]]]:
    """Return what tells whether folders changed: their files' names and sizes (a wheel's name has its version)."""
    return [
        (str(place), "", sorted((str(path.relative_to(folder)), path.stat().st_size) for path in folder.rglob("*")))
        for folder, place in volumes.items()
    ]


def _images() -> Path:
    return made(cache() / "images")


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()
