"""The classifier as the server loads it: numpy, and twenty lines that read a safetensors file."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

Array = Any  # numpy's own stubs need its plugin to say more, and nothing here depends on it
MOST_HEADER_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A linear model over images of 64 pixels, and what its training pipeline said about it."""

    version: str
    baseline_accuracy: float
    scale: float
    weight: Array
    bias: Array

    @classmethod
    def load(cls, path: Path) -> Classifier:
        """Read a checkpoint: a directory with `config.json` and `model.safetensors`."""
        config = json.loads((path / "config.json").read_text())
        tensors = read_safetensors(path / "model.safetensors")
        return cls(
            version=str(config["version"]),
            baseline_accuracy=float(config["test_accuracy"]),
            scale=float(config["scale"]),
            weight=tensors["weight"],
            bias=tensors["bias"],
        )

    def predict(self, pixels: list[list[float]]) -> list[int]:
        """Name the digit in each image.

        Raises:
            ValueError: The rows are not images of 64 numbers.
        """
        images = np.asarray(pixels, dtype=np.float32)
        if images.ndim != 2 or images.shape[1] != self.weight.shape[1]:
            raise ValueError(f"expected rows of {self.weight.shape[1]} pixels")
        scores = images / self.scale @ self.weight.T + self.bias
        return [int(digit) for digit in scores.argmax(axis=1)]


def read_safetensors(path: Path) -> dict[str, Array]:
    """Return the float32 tensors of a file: eight bytes of header length, a JSON header, then the numbers."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<Q", content)
    if length > min(MOST_HEADER_BYTES, len(content) - 8):
        raise ValueError(f"{path.name}: a header of {length} bytes cannot be right")
    header = json.loads(content[8 : 8 + length])
    body = memoryview(content)[8 + length :]
    return {name: read_tensor(body, entry) for name, entry in header.items() if name != "__metadata__"}


def read_tensor(body: memoryview, entry: dict[str, Any]) -> Array:
    """Return one tensor of the file's body."""
    if entry["dtype"] != "F32":
        raise ValueError(f"expected F32, found {entry['dtype']}")
    start, end = entry["data_offsets"]
    return np.frombuffer(body[start:end], dtype="<f4").reshape(entry["shape"])
