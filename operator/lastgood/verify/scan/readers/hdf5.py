"""The superblock of an HDF5 file: it says where the file ends. What is inside is not walked.

Format: HDF5 File Format Specification 3.0, section II.A.
"""

from typing import Final

from lastgood.verify.scan.containers.part import Part

_VERSION: Final = 8  # where it stands
_OLD: Final = (0, 1)
_NEW: Final = (2, 3)
_WIDTHS: Final = (2, 4, 8)  # bytes of an address


def problem(part: Part) -> str | None:
    """Return why a file is not HDF5 up to its last byte, or None."""
    head = part.head[:96]
    if len(head) < 48:  # noqa: PLR2004 - the shortest superblock with addresses of 8 bytes
        return "an HDF5 file without a superblock"
    version = head[_VERSION]
    if version in _OLD:
        width, addresses = head[13], 24 if version == 0 else 28
    elif version in _NEW:
        width, addresses = head[9], 12
    else:
        return f"an HDF5 file of the unknown version {version}"
    if width not in _WIDTHS:
        return f"an HDF5 file with addresses of {width} bytes"
    places = range(addresses, addresses + 3 * width, width)
    base, _, end = (int.from_bytes(head[at : at + width], "little") for at in places)
    if base or end != part.size:
        return f"an HDF5 file that begins at byte {base} and ends at byte {end} of {part.size}"
    return None
