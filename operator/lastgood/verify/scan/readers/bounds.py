"""How much of a text in a checkpoint is looked at."""

from typing import Final

from lastgood.api.strictjson import Bounds

JSON: Final = Bounds(size=8 * 2**20, values=400_000, depth=64)
