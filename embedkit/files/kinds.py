"""What kind of file stands where an output goes, told by its beginning; nothing of it is trusted."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

HEAD = 2**16  # bytes; HDF5 keeps the attributes of the root group near the beginning
UNKNOWN = "a file of no known kind"
EMPTY = "an empty file"
TEXT = "a text"
MAP_TABLE = "an exported map"
FEATURE_SET = "a folder of feature files"
# What our own HDF5 files say of themselves; the first of them in a file counts.
_MARKS = {
    b"embedkit-features": "a feature file",
    b"embedkit-cluster-model": "a saved clustering",
    b"embedkit-probe-model": "a saved probe",
}
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "a picture"),
    (b"\xff\xd8\xff", "a picture"),
    (b"GIF8", "a picture"),
    (b"BM", "a picture"),
    (b"II*\0", "a picture"),
    (b"MM\0*", "a picture"),
    (b"II+\0", "a picture"),
    (b"MM\0+", "a picture"),
    (b"SIMPLE  =", "a FITS file"),
    (b"%PDF-", "a PDF document"),
    (b"PK\x03\x04", "an archive or office document"),
    (b"PK\x05\x06", "an archive or office document"),
    (b"\x1f\x8b", "an archive"),
    (b"\xd0\xcf\x11\xe0", "an office document"),
    (b"\x93NUMPY", "an array"),
    (b"PAR1", "a Parquet table"),
    (b"SQLite format 3\0", "a database"),
)
KINDS = (
    *_MARKS.values(),
    *dict.fromkeys(kind for _, kind in _MAGIC),
    "an HDF5 file",
    "weights in safetensors",
    "results",
    "a split",
    "a leaderboard",
    "an SVG picture",
    "an HTML page",
    FEATURE_SET,
    MAP_TABLE,
    TEXT,
    EMPTY,
    UNKNOWN,
)


def kind_of(path: Path) -> str:
    """Return what a regular file is, as `KINDS` and the names of `embedkit.files.tables.TABLES` say it."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if not head:
        return EMPTY
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        found = {place: kind for mark, kind in _MARKS.items() if (place := head.find(mark)) >= 0}
        return found[min(found)] if found else "an HDF5 file"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a picture"
    if head[4:8] == b"ftyp" or head[4:8] == b"jP  ":
        return "a picture"
    if head[257:262] == b"ustar":
        return "an archive"
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[8:10] == b'{"' and int.from_bytes(head[:8], "little") < 2**27:
        return "weights in safetensors"
    # A character may be cut at the end of the head.
    text = head.decode("utf-8", errors="ignore") if _is_text(head) else None
    return UNKNOWN if text is None else _of_text(path, text)


def _is_text(head: bytes) -> bool:
    try:
        head[: HEAD - 4].decode("utf-8") if len(head) == HEAD else head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start >= len(head) - 4 and b"\0" not in head
    return b"\0" not in head


def _of_text(path: Path, text: str) -> str:
    start = text.lstrip("\ufeff \t\r\n")
    line = start.partition("\n")[0]
    if path.name.lower() == "results.jsonl" or _is_result(line):
        return "results"
    if re.match(r"(<\?xml[^>]*>\s*)?<svg\b", start):
        return "an SVG picture"
    if re.match(r"<!doctype html|<html\b", start, flags=re.IGNORECASE):
        return "an HTML page"
    if start.startswith("{") and re.search(r'"format":\s*"embedkit-splits"', start[:200]):
        return "a split"
    if re.match(r"id,x,y(,|\s*$)", line):  # whose further columns may be those of a table of ours
        return MAP_TABLE
    return _of_columns(line) or ("a leaderboard" if _is_leaderboard(start) else TEXT)


def _is_result(line: str) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"task", "metrics", "method"} <= set(found)


def _is_leaderboard(start: str) -> bool:
    """Whether `reports.leaderboard.text` may have written it in one of its forms."""
    return bool(
        re.match(r'\{\s*"results": \[', start)
        or re.match(r"## [^\n]*: [^\n]*\n\n\| ", start)
        or re.match(r'"?dataset"?,"?task"?,', start)
        or re.search(r"^[ ─━]*[─━]{3}[ ─━┼╇╪]*$", start, flags=re.MULTILINE)
    )


def _of_columns(line: str) -> str | None:
    """Name the table of ours whose columns a line has."""
    from embedkit.files.tables import TABLES

    try:
        header = next(csv.reader([line]), [])
    except csv.Error:
        return None
    for kind in TABLES:
        needed = [one.name for one in kind.columns if not one.optional and not one.repeated]
        repeated = [f"{one.name}:" for one in kind.columns if one.repeated and not one.optional]
        if (
            header[:1] == [kind.columns[0].name]
            and set(needed) <= set(header)
            and all(any(name.startswith(part) for name in header) for part in repeated)
        ):
            return kind.name
    return None
