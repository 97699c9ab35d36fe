"""Names of what is no image that is read, by how it begins."""

from __future__ import annotations

import struct

_STARTS = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"#?RGBE": "Radiance HDR",
    b"8BPS": "Photoshop",
    b"%PDF": "PDF",
    b"\x89HDF": "HDF5; give it itself as the dataset",
    b"\x93NUMPY": "a NumPy array; give it itself as the dataset",
    b"PK\3\4": "a zip archive, or .npz",
    b"P7\n": "PAM",
    b"PF\n": "PFM in colour",
    b"version https://git-lfs": "a pointer of Git LFS, and not the file: git lfs pull brings that",
}
# Of formats that are read, where the first bytes leave no doubt.
_READ = {b"\x89PNG\r\n\x1a\n": "PNG", b"GIF87a": "GIF", b"GIF89a": "GIF", b"\xff\x4f\xff\x51": "JPEG 2000"}
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)


def begun_as(data: bytes) -> str | None:
    """Say which format that is read a file begins as; None where its first bytes don't tell."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    return next((name for start, name in _READ.items() if data.startswith(start)), None)


def named(data: bytes) -> str | None:
    """Say what a file is that isn't read; None where its first bytes don't tell."""
    if data[:2] == b"\xff\xd8":
        return _jpeg(data)
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF:
        return "it is HEIC"
    if data[128:132] == b"DICM":
        return "it is DICOM"
    if b"<svg" in data[:512]:
        return "it is SVG"
    return next((f"it is {name}" for start, name in _STARTS.items() if data.startswith(start)), None)


def _jpeg(data: bytes) -> str | None:
    """Name the kinds of JPEG that Pillow does not know by their first frame."""
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], struct.unpack_from(">H", data, at + 2)[0]
        if marker in _FRAMES:
            kind = "a lossless JPEG" if marker in _LOSSLESS else "a JPEG"
            return f"it is {kind} of {data[at + 4]} bits a sample"
        at += 2 + max(length, 2)
    return None
