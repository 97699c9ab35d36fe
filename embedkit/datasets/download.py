"""Get a published file once: resumable, checked, and in place only when it is whole."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedkit.console import note, progress
from embedkit.errors import EmbedkitError

TIMEOUT_S = 15
_BLOCK = 2**20


@dataclass(frozen=True)
class Published:
    """A file on the web.

    Parameters
    ----------
    url
        Its http or https address.
    name
        Its file name here.
    sha256
        Hex digest that its publisher gives.
    """

    url: str
    name: str
    sha256: str


def download(file: Published, folder: Path) -> Path:
    """Return the path of the file in `folder`, after downloading what is missing of it.

    Raises
    ------
    EmbedkitError
        The server can't be reached, breaks off, or sends something else; what has arrived stays for the
        next attempt, unless its checksum is wrong.
    """
    target = folder / file.name
    if target.exists():
        return target
    folder.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f"{file.name}.part")
    with _only_one(target.with_name(f"{file.name}.lock")):
        if not target.exists():  # another process may have finished it while this one waited
            _fill(file, part, target)
            _check(file, part)
            part.replace(target)
    return target


def _fill(file: Published, part: Path, target: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(file.url, headers={"User-Agent": "embedkit"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            if response.status != http.HTTPStatus.PARTIAL_CONTENT:
                have = 0  # the server sends the whole file whatever was asked
            total = have + int(response.headers.get("Content-Length") or 0)
            note(
                f"{file.url}: {total / 1e6:,.0f} MB to {target}"
                + (f", from {have / 1e6:,.0f} MB" if have else "")
            )
            _receive(response, part, have, total)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            return  # the part is whole already, or the checksum will tell
        raise _failed(file, part, f"the server answered {error.code} {error.reason}") from error
    except (http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise _failed(file, part, f"the connection broke ({error or type(error).__name__})") from error
    except urllib.error.URLError as error:
        raise _failed(file, part, f"can't be reached ({error.reason})") from error


def _receive(response: http.client.HTTPResponse, part: Path, have: int, total: int) -> None:
    with (
        part.open("r+b" if have else "wb") as out,
        progress(part.stem, round(total / 1e6), unit="MB") as advance,
    ):
        out.seek(have)
        advance(round(have / 1e6))
        while block := response.read(_BLOCK):
            out.write(block)
            have += len(block)
            advance(round(have / 1e6) - round((have - len(block)) / 1e6))
    if have < total:
        raise http.client.HTTPException(f"{have:,} of {total:,} bytes")


def _check(file: Published, part: Path) -> None:
    with part.open("rb") as data:
        found = hashlib.file_digest(data, "sha256").hexdigest()
    if found != file.sha256:
        part.unlink()
        raise EmbedkitError(
            f"{file.url}: SHA-256 is {found}, published is {file.sha256}; the download was removed. Run the "
            f"command again, or get {file.name} in another way and give it with --path."
        )


def _failed(file: Published, part: Path, why: str) -> EmbedkitError:
    have = part.stat().st_size if part.exists() else 0
    kept = f"{have / 1e6:,.0f} MB are kept, and the same command goes on from there" if have else "Try later"
    return EmbedkitError(
        f"{file.url}: {why}. {kept}; or get {file.name} in another way and give it with --path."
    )


@contextmanager
def _only_one(lock: Path) -> Iterator[None]:
    """Let one process at a time pass: those of a distributed extraction all ask for the same file."""
    try:
        import fcntl
    except ImportError:  # Windows; two processes there would fail the checksum, not corrupt the file
        yield
        return
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
