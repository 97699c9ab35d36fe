"""Files in object stores (``s3://bucket/key`` and the like), through fsspec: objects and ranges of them.

Only what a user has named is asked for. Every request is made again, later and later, where the store is
busy or the connection breaks. Messages and records hold addresses and never credentials: these come from
the environment, or from where the store's own tools keep them.
"""

from __future__ import annotations

import errno
import io
import os
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, BinaryIO, TypeVar, cast

from embedkit.errors import EmbedkitError, UsageError, first_line

T = TypeVar("T")

# Each scheme with the package that speaks it.
PACKAGES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "memory": "fsspec",
}
# Of these the extra "remote" asks for all that s3:// needs.
IN_EXTRA = ("s3fs", "fsspec")
TRIES, FIRST_WAIT_S, LONGEST_WAIT_S = 8, 0.25, 10.0
# Rows are read in order: one request for many small images, and a few of them at a time for large ones.
BLOCK_BYTES, KEPT_BLOCKS = 2**22, 16
# Behind a path one of the two slashes is gone.
_ADDRESS = re.compile(rf"({'|'.join(PACKAGES)}):/{{1,2}}(?=[^/])(.+)", re.DOTALL)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_FINAL = (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EEXIST)
_OPTIONS: dict[str, dict[str, Any]] = {
    # Listings are asked for anew: other machines write too. How often is asked is decided here alone.
    "s3": {
        "use_listings_cache": False,
        "config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 60},
    }
}
_stores: dict[tuple[int, str], Any] = {}
_lock = threading.Lock()


class GoneError(EmbedkitError):
    """An object that is not there, or not any more."""


@dataclass(frozen=True)
class Stat:
    """What a store says of an object.

    Parameters
    ----------
    size
        Bytes.
    mark
        Of its content: another one has another mark.
    """

    size: int
    mark: str


class Address(type(Path())):  # type: ignore[misc]
    """An address where a path is expected: it is written with both slashes."""

    def __str__(self) -> str:
        """Return the address."""
        return _ADDRESS.sub(r"\1://\2", super().__str__(), count=1)

    def exists(self, **_: Any) -> bool:
        """Whether the object is there: the store is asked."""
        return exists(str(self))

    def is_dir(self, **_: Any) -> bool:
        """Return False: a store has no folders, only names that begin alike."""
        return False

    def mkdir(self, *_: Any, **__: Any) -> None:
        """Do nothing, for the same reason."""

    def open(self, *_: Any, **__: Any) -> Any:
        """Open it for reading bytes."""
        return _opened(str(self))


def address_of(place: str | os.PathLike[str]) -> str | None:
    """Return the address that a name is, such as ``s3://bucket/key``; None for a path.

    Raises
    ------
    UsageError
        It holds a name and password, or is of a scheme that isn't known.
    """
    text = os.fspath(place)
    found = _ADDRESS.fullmatch(text)
    if found is None:
        scheme = _SCHEME.match(text)
        if scheme is not None and scheme[1].lower() == "file":
            raise UsageError(f"{text}: what lies on this machine is named by its path: {text[7:]}.")
        if scheme is not None:
            raise UsageError(
                f"{scheme[0]}...: addresses begin with {', '.join(f'{name}://' for name in PACKAGES)}. Copy "
                "what lies elsewhere to this machine, and give its path."
            )
        return None
    bucket = found[2].partition("/")[0]
    if (
        ("@" in bucket and found[1] != "abfs")
        or ":" in bucket
        or re.search(r"[?&](sig|X-Amz-\w+|AWSAccessKeyId)=", text)
    ):
        raise UsageError(
            f"{found[1]}://...: an address with credentials in it would be kept in records. Give the address "
            "alone; credentials come from the environment, or from where the store's own tools keep them."
        )
    return f"{found[1]}://{found[2]}"


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether a name is an address of a scheme that is known."""
    return _ADDRESS.fullmatch(os.fspath(place)) is not None


def path_of(place: str | os.PathLike[str]) -> Path:
    """Return a path, or an `Address` where it is one."""
    address = address_of(place)
    return Path(place) if address is None else Address(address)


def stat(address: str) -> Stat:
    """Return size and mark of an object; raises `GoneError` where there is none."""
    found = _ask(address, lambda store, path: store.info(path))
    if found.get("type") == "directory":
        raise GoneError(f"{address}: no object of that name, but a folder.")
    return _stat(found)


def exists(address: str) -> bool:
    """Whether an object is there."""
    try:
        stat(address)
    except GoneError:
        return False
    return True


def listing(folder: str) -> dict[str, Stat]:
    """Return what lies in a folder and below it, by name relative to it; empty where there is nothing."""
    found = _ask(folder, lambda store, path: (store._strip_protocol(path), store.find(path, detail=True)))
    root, items = cast(tuple[str, Mapping[str, Mapping[str, Any]]], found)
    root = root.rstrip("/") + "/"
    return {
        name.removeprefix(root): _stat(item)
        for name, item in sorted(items.items())
        if name.startswith(root) and name != root and item.get("type") != "directory"
    }


def _stat(found: Mapping[str, Any]) -> Stat:
    mark = next(
        (found[name] for name in ("ETag", "etag", "md5Hash", "created", "mtime") if found.get(name)), ""
    )
    if hasattr(mark, "timestamp"):
        mark = mark.timestamp()
    return Stat(int(found.get("size") or 0), str(mark).strip('"'))


def read(address: str) -> bytes:
    """Return a whole object."""
    return bytes(_ask(address, lambda store, path: store.cat_file(path)))


def read_range(address: str, start: int, stop: int) -> bytes:
    """Return some bytes of an object: fewer where it ends before."""
    if stop <= start:
        return b""

    def get(store: Any, path: str) -> bytes:
        try:
            return bytes(store.cat_file(path, start=start, end=stop))
        except OSError as error:
            if error.errno == errno.EINVAL and "range" in str(error):  # it begins behind the end
                return b""
            raise

    return _ask(address, get)


def read_blocks(address: str, start: int, size: int) -> bytes:
    """Do what `read_range` does, by aligned blocks of which the last ones are kept."""
    first, last = start // BLOCK_BYTES, (start + size - 1) // BLOCK_BYTES
    data = b"".join(_block(address, number) for number in range(first, last + 1))
    return data[start - first * BLOCK_BYTES :][:size]


def write(address: str, data: bytes) -> None:
    """Store a whole object: it is there with all of this content, or what was there before is."""
    _ask(address, lambda store, path: store.pipe_file(path, data))


def write_new(address: str, data: bytes) -> bool:
    """Store a whole object where none is; returns whether it was this one that came to be there."""
    try:
        _ask(address, lambda store, path: store.pipe_file(path, data, mode="create"))
    except FileExistsError:
        return False
    return True


def upload(path: Path, address: str) -> Stat:
    """Store a file as one object, and hold what came to be there against it.

    Raises
    ------
    EmbedkitError
        The store has something else than was sent.
    """
    import hashlib

    _ask(address, lambda store, name: store.put_file(str(path), name))
    there = stat(address)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "md5").hexdigest()
    # The mark of an object that was sent in one piece is its MD5, unless it is encrypted with a key of one's
    # own.
    if there.size != path.stat().st_size or (
        re.fullmatch("[0-9a-f]{32}", there.mark) and there.mark != digest
    ):
        raise EmbedkitError(
            f"{address}: the store has something else than was sent. Give the same command again."
        )
    return there


def download(address: str, path: Path) -> None:
    """Copy an object into a file, block by block."""
    found = stat(address)
    with path.open("wb") as stream:
        for start in range(0, found.size, 4 * BLOCK_BYTES):
            data = read_range(address, start, min(start + 4 * BLOCK_BYTES, found.size))
            stream.write(data)
    if path.stat().st_size != found.size or stat(address) != found:
        raise EmbedkitError(f"{address}: changed while it was read. Give the same command again.")


def delete(address: str) -> None:
    """Delete an object, if it is there."""

    def remove(store: Any, path: str) -> None:
        try:
            store.rm_file(path)
        except FileNotFoundError:
            return

    _ask(address, remove)


@contextmanager
def opened(address: str) -> Iterator[BinaryIO]:
    """Open an object for reading at any place."""
    with _opened(address) as stream:
        yield cast(BinaryIO, stream)


def _opened(address: str) -> io.BufferedReader:
    return io.BufferedReader(_Object(address, stat(address).size), BLOCK_BYTES)


class _Object(io.RawIOBase):
    """An object as a file."""

    def __init__(self, address: str, size: int) -> None:
        self._address, self._size, self._at = address, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        data = read_range(self._address, self._at, stop)
        if len(data) != max(0, stop - self._at):
            raise EmbedkitError(f"{self._address}: changed while it was read. Give the same command again.")
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


_blocks: OrderedDict[tuple[int, str, int], Future[bytes]] = OrderedDict()


def _block(address: str, number: int) -> bytes:
    key = (os.getpid(), address, number)
    with _lock:
        future = _blocks.get(key)
        mine = future is None
        if future is None:
            future = _blocks[key] = Future()
            while len(_blocks) > KEPT_BLOCKS:
                _blocks.popitem(last=False)
        _blocks.move_to_end(key)
    if mine:
        try:
            future.set_result(read_range(address, number * BLOCK_BYTES, (number + 1) * BLOCK_BYTES))
        except BaseException as error:
            with _lock:
                _blocks.pop(key, None)
            future.set_exception(error)
    return future.result()


# --- one request ---------------------------------------------------------------------------------


def _ask(address: str, call: Callable[[Any, str], T]) -> T:
    """Ask the store of an address, again where that can help.

    Raises
    ------
    GoneError
        No such object or bucket.
    EmbedkitError
        No permission, no package for it, or no answer after `TRIES`.
    FileExistsError
        What was to be made is there.
    """
    store = _store(address)
    wait = FIRST_WAIT_S
    for left in reversed(range(TRIES)):
        try:
            return call(store, address)
        except FileExistsError:
            raise
        except FileNotFoundError as error:
            raise GoneError(f"{address}: is not there ({_said(error)}). Check the address.") from error
        except PermissionError as error:
            raise EmbedkitError(
                f"{address}: the store gives no permission ({_said(error)}). Check which credentials are in "
                "use and what they may do; what was finished stays."
            ) from error
        except Exception as error:
            if isinstance(error, EmbedkitError):
                raise
            final = _is_final(error)
            if final or not left:
                how = "can't be asked" if final else f"did not answer after {TRIES} tries"
                raise EmbedkitError(
                    f"{address}: the store {how} ({_said(error)}). What was finished stays, and the same "
                    "command goes on from there."
                ) from error
        time.sleep(wait)
        wait = min(2 * wait, LONGEST_WAIT_S)
    raise AssertionError


def _is_final(error: Exception) -> bool:
    """Whether asking again can't help."""
    if isinstance(error, (ValueError, TypeError)):
        return True
    if type(error).__module__.startswith("botocore"):  # such as a profile or credentials that are not there
        return re.search("Connect|Timeout|HTTPClient|Incomplete|Stream|Parse", type(error).__name__) is None
    return getattr(error, "errno", 0) in _FINAL


def _said(error: BaseException) -> str:
    """Return what an error says, without what may be a secret."""
    text = first_line(error).strip().rstrip(".")
    for name, value in os.environ.items():
        if (
            value
            and len(value) >= 6
            and re.search(r"KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING", name)
        ):
            text = text.replace(value, "***")
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _store(address: str) -> Any:
    scheme = address.partition("://")[0]
    key = (os.getpid(), scheme)  # a forked process asks for itself
    with _lock:
        if key not in _stores:
            try:
                import fsspec

                _stores[key] = fsspec.filesystem(scheme, skip_instance_cache=True, **_OPTIONS.get(scheme, {}))
            except ImportError as error:
                package = PACKAGES[scheme]
                extra = 'pip install "embedkit-images[remote]"'
                get = extra if package in IN_EXTRA else f"pip install {package}"
                raise EmbedkitError(f"{address}: is read with {package}, which is missing: {get}.") from error
            except Exception as error:
                raise EmbedkitError(f"{address}: the store can't be opened ({_said(error)}).") from error
        return _stores[key]


def joined(folder: str | PurePath, name: str) -> str:
    """Return the address of a name in a folder."""
    return f"{str(folder).rstrip('/')}/{name}"
