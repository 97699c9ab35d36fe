"""What a tar shard holds, in WebDataset's convention: samples of members that share a key.

The index is made with the standard library's tarfile. The package `webdataset` streams samples one after the
other, and a dataset here is read by row: for verify, a resumed run, a shard of the parts, a picture on a
map. Nothing is unpacked: the names of members are ids, whatever path they spell.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from embedkit.errors import EmbedkitError, first_line
from embedkit.files.endings import IMAGE_ENDINGS
from embedkit.strict_json import UndeclaredError, declared

_BLOCK = tarfile.BLOCKSIZE
_SAMPLE = re.compile(r"((?:.*/|)[^./][^.]*)[.]([^/]+)", re.DOTALL)
_ABOUT_THE_SHARD = re.compile(r"__[^/]*__($|/)")
# Members that are text about a sample, in the order in which labels are looked for.
TEXTS = ("cls", "json", "txt")
MOST_TEXT = 2**20  # bytes; what is longer is no label
_COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"(\xb5/\xfd": "zstd"}
_SPEAKS_OF_THE_NEXT = b"xXgLK"  # long names and the like, which tarfile reads into memory
_RESTORE = "Restore it, or leave it out"


@dataclass(frozen=True)
class Wanted:
    """What is taken of each sample.

    Parameters
    ----------
    image
        Ending of the image's member; by default whichever is that of an image.
    labels
        Ending of the member that holds the label; by default all of `TEXTS` are looked at.
    fields
        Which fields of ``.json`` are kept.
    """

    image: str | None = None
    labels: str | None = None
    fields: tuple[str, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Endings of the members that are read while the index is made."""
        return TEXTS if self.labels is None else tuple(dict.fromkeys((self.labels, "json")))


@dataclass
class Index:
    """The samples of one shard, in its order.

    Parameters
    ----------
    keys
        What the names of a sample's members begin with.
    endings
        Of each image's member, as it is written.
    places
        Where each image begins, its bytes, and the CRC-32 of the block before it, which is its header.
    columns
        Text about each sample by ending or, of JSON, ``json:FIELD``; "" where it has none.
    others
        How many members there are of each ending that was not used.
    irregular
        Number of links, devices and pipes, which are left out.
    without_image
        Number of samples that have no image.
    """

    keys: list[str] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    places: list[tuple[int, int, int]] = field(default_factory=list)
    columns: dict[str, list[str]] = field(default_factory=dict)
    others: dict[str, int] = field(default_factory=dict)
    irregular: int = 0
    without_image: int = 0


class _Member(tarfile.TarInfo):
    """A member that knows the checksum of its header, and no size that would have tarfile go in circles."""

    crc = 0

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Member:
        member = super().frombuf(buf, encoding, errors)
        if member.size < 0 or (member.type in _SPEAKS_OF_THE_NEXT and member.size > MOST_TEXT):
            raise tarfile.ReadError(f"a header declares {member.size:,} bytes")
        member.crc = zlib.crc32(buf)
        return member


def read_index(stream: BinaryIO, where: str, wanted: Wanted) -> Index:
    """Find the samples of a tar file.

    Raises
    ------
    EmbedkitError
        Truncated, compressed or no tar; a key or file that occurs twice, or several images in one sample.
    """
    index = Index()
    seen: dict[str, int] = {}
    sample: dict[str, _Member] = {}
    texts: dict[str, str] = {}
    key = ""

    def finish() -> None:
        if sample:
            _add(index, key, sample, texts, where, wanted)

    for member, tar in _members(stream, where, index):
        found = _SAMPLE.fullmatch(member.name.removeprefix("./"))
        if found is None or _ABOUT_THE_SHARD.match(member.name):
            continue
        if found[1] != key or not sample:
            finish()
            key, sample, texts = found[1], {}, {}
            if key in seen:
                raise EmbedkitError(
                    f"{where}: the key {key!r} occurs twice: what belongs to one sample must stand together, "
                    "and each key names one. Write the shard again."
                )
            seen[key] = len(seen)
        end = found[2].lower()
        if end in sample:
            raise EmbedkitError(f"{where}: {member.name!r} occurs twice. Write the shard again.")
        sample[end] = member
        if end in wanted.texts:
            texts |= _text(tar, member, end, f"{where}[{member.name}]", wanted)
    finish()
    return index


def _members(stream: BinaryIO, where: str, index: Index) -> Iterator[tuple[_Member, tarfile.TarFile]]:
    """Yield the regular members; raises on what tarfile takes for the end and is none."""
    try:
        # "r:" reads no compressed file: a place in one can't be gone to.
        with tarfile.open(
            fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape", tarinfo=_Member
        ) as tar:
            while (member := tar.next()) is not None:
                assert isinstance(member, _Member)
                tar.members = []  # type: ignore[attr-defined]  # a kilobyte each, and they are asked for once
                if member.size < 0:  # as a header in pax may say
                    raise tarfile.ReadError(f"{member.name!r} declares {member.size:,} bytes")
                _check_name(member.name, where)
                if member.issparse():
                    raise EmbedkitError(
                        f"{where}: {member.name!r} is a sparse file. Pack it without --sparse."
                    )
                if member.isreg():
                    yield member, tar
                elif not member.isdir():
                    index.irregular += 1
            _check_end(stream, tar.offset, where)
    except (tarfile.TarError, ValueError, EOFError, OverflowError, RecursionError) as error:
        stream.seek(0)
        head = stream.read(8)
        packed = next((name for magic, name in _COMPRESSED.items() if head.startswith(magic)), None)
        if packed:
            raise EmbedkitError(
                f"{where}: compressed ({packed}), so that no image can be read without all before it. Unpack "
                "it to a plain .tar; images are compressed already."
            ) from error
        kind = "truncated" if "unexpected end" in str(error) else "no tar file, or damaged"
        raise EmbedkitError(f"{where}: {kind} ({first_line(error)}). {_RESTORE}.") from error


def _check_name(name: str, where: str) -> None:
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raw = name.encode("utf-8", "surrogateescape")
        raise EmbedkitError(
            f"{where}: the name {raw!r} is not UTF-8, so it can't be an id. Rename it."
        ) from error


def _check_end(stream: BinaryIO, offset: int, where: str) -> None:
    """Refuse a shard that is cut or broken in the middle: tarfile ends there without a word."""
    stream.seek(offset)
    end = stream.read(2 * _BLOCK)
    if len(end) < _BLOCK:
        raise EmbedkitError(f"{where}: truncated: it lacks the zeros that end a tar file. {_RESTORE}.")
    if any(end[:_BLOCK]):
        raise EmbedkitError(f"{where}: damaged: at byte {offset:,} is no header of a member. {_RESTORE}.")
    while block := stream.read(2**20):
        if any(block):
            raise EmbedkitError(
                f"{where}: goes on after its end, as shards that were put together with cat do. Give the "
                "shards themselves."
            )


def _text(tar: tarfile.TarFile, member: _Member, end: str, where: str, wanted: Wanted) -> Mapping[str, str]:
    if member.size > MOST_TEXT:
        return {}
    file = tar.extractfile(member)
    data = file.read() if file is not None else b""
    try:
        text = data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise EmbedkitError(f"{where}: no UTF-8. Write it again as text.") from error
    if end != "json":
        return {end: text}
    try:
        found = declared(data, Any)
    except UndeclaredError as error:
        raise EmbedkitError(f"{where}: no JSON ({first_line(error)}). Correct it.") from error
    if not isinstance(found, dict):
        return {"json": _cell(found)}
    return {f"json:{name}": _cell(found[name]) for name in wanted.fields if name in found}


def _cell(value: Any) -> str:
    """Return a value as the cell of a table: "" for what is no text, number or truth."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return "" if value is None or isinstance(value, (dict, list)) else str(value)


def _add(
    index: Index,
    key: str,
    sample: Mapping[str, _Member],
    texts: Mapping[str, str],
    where: str,
    wanted: Wanted,
) -> None:
    end = _image(sample, f"{where}[{key}]", wanted)
    for other in sample:
        if other != end and other not in wanted.texts:
            index.others[other] = index.others.get(other, 0) + 1
    if end is None:
        index.without_image += 1
        return
    member = sample[end]
    n = len(index.keys)
    index.keys.append(key)
    index.endings.append(member.name.removeprefix("./")[len(key) + 1 :])
    index.places.append((member.offset_data, member.size, member.crc))
    for name, text in texts.items():
        index.columns.setdefault(name, [""] * n).append(text)
    for name, column in index.columns.items():
        if name not in texts:
            column.append("")


def _image(sample: Mapping[str, Any], where: str, wanted: Wanted) -> str | None:
    """Return the ending of a sample's image; None where it has none."""
    if wanted.image is not None:
        return wanted.image if wanted.image in sample else None
    images = [end for end in sample if f".{end}" in IMAGE_ENDINGS]
    if not images:  # such as input.jpg
        images = [end for end in sample if f".{end.rpartition('.')[2]}" in IMAGE_ENDINGS]
    if len(images) > 1:
        raise EmbedkitError(
            f"{where}: several images in one sample ({', '.join(images)}). Name the one that is meant with "
            "--images-key, such as "
            f"--images-key {images[0]}."
        )
    return images[0] if images else None
