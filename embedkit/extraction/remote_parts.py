"""Parts in an object store: each is one object, put there whole, and nothing is ever renamed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedkit.errors import EmbedkitError
from embedkit.extraction.parts import DamagedPartError, Parts
from embedkit.files import remote
from embedkit.files.cache import cache_folder
from embedkit.files.remote import Address, GoneError, joined
from embedkit.files.remote_features import copy_of
from embedkit.files.rows import Rows


def parts_of(output: Path, n: int, n_views: int) -> Parts:
    """Return the parts of a feature file, on this machine or in a store."""
    return RemoteParts(output, n, n_views) if isinstance(output, Address) else Parts(output, n, n_views)


class RemoteParts(Parts):
    """The parts of a feature file that will lie in an object store; see `Parts`.

    Machines share them through the store: the manifest is put where none is, and a part under its number.
    Two that compute the same part put the same bytes. Whoever sees all of them there joins them on its own
    disk, sends the file as one object, and then deletes them. A second one that does so at the same time
    sends the same file.
    """

    _known: bytes | None = None

    def _at(self, name: str) -> str:
        return joined(str(self.folder), name)

    def finished(self) -> list[int]:
        """Numbers of the parts that are done, by one listing."""
        there = remote.listing(str(self.folder))
        return [number for number in range(len(self)) if self.file(number).name in there]

    def any_there(self) -> bool:
        """Whether something lies in the folder."""
        return bool(remote.listing(str(self.folder)))

    def _has_manifest(self) -> bool:
        return remote.exists(self._at("manifest.json"))

    def _read_manifest(self, fix: str) -> bytes:  # noqa: ARG002
        return remote.read(self._at("manifest.json"))

    def _write_manifest(self, text: str) -> None:
        self._known = None
        remote.write_new(self._at("manifest.json"), text.encode())

    def _manifest_bytes(self) -> bytes:
        if self._known is None:
            try:
                self._known = remote.read(self._at("manifest.json"))
            except GoneError as error:
                raise FileNotFoundError(self._at("manifest.json")) from error
        return self._known

    def _lock_folder(self) -> Path:
        # Between processes of one machine; machines that compute the same part put the same bytes.
        return cache_folder() / "locks" / hashlib.sha256(str(self.output).encode()).hexdigest()

    def _put(self, number: int, content: memoryview, seal: bytes) -> None:
        remote.write(self._at(self.file(number).name), bytes(content) + seal)

    def _get(self, number: int) -> bytes:
        try:
            return remote.read(self._at(self.file(number).name))
        except GoneError as error:
            raise DamagedPartError("it is gone") from error

    def _drop(self, number: int) -> None:
        remote.delete(self._at(self.file(number).name))

    def remove_content(self) -> None:
        """Delete all parts, then the manifest."""
        self._known = None
        for name in sorted(
            remote.listing(str(self.folder)), key=lambda name: (name == "manifest.json", name)
        ):
            remote.delete(self._at(name))

    def remove(self) -> None:
        """Delete all that lies in the folder, which then is none."""
        self.remove_content()

    def join(self, rows: Rows, provenance: Mapping[str, Any]) -> None:
        """Join the parts on this machine's disk, send the file, and delete the parts when it is there."""
        local = self._lock_folder() / self.output.name
        try:
            with self._written(local, range(len(self)), rows, provenance):
                pass
            there = remote.upload(local, str(self.output))
            kept = copy_of(str(self.output), there)
            kept.parent.mkdir(parents=True, exist_ok=True)
            local.replace(kept)
        except EmbedkitError:
            # Another machine has joined them meanwhile, and deleted them.
            if not self._has_manifest() and remote.exists(str(self.output)):
                return
            raise
        finally:
            local.unlink(missing_ok=True)
        self.remove()

    def leave(self, rows: Rows, provenance: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Raise: a folder of feature files is made on a disk alone, and the call says so before."""
        raise EmbedkitError(f"{self.output}: a folder of feature files is made on this machine alone.")
