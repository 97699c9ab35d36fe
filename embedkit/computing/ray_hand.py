"""What an actor of `ray_engine` is: a class that says so where embedkit is missing on its machine."""

from __future__ import annotations

from typing import Any


def hand_class() -> type:
    """Make the class of the actors.

    It travels by value, because it is made in a function, and imports embedkit only when it is called. So a
    machine without the package, or with another version, gives a sentence rather than a traceback.
    """

    class Hand:
        def __init__(self, work: bytes, versions: dict[str, str], folder: str, has: tuple[str, int]) -> None:
            self._work, self._versions, self._folder = work, versions, folder
            self._device, self._threads = has
            self._computing: Any = None

        def begin(self) -> tuple[str, Any, str]:
            """Load what every part needs: ``ready`` and the device, or ``error``, its kind and its words."""
            import contextlib
            import os
            import socket

            host = socket.gethostname()

            with contextlib.suppress(OSError):  # relative paths then lead nowhere, which is said of the first
                os.chdir(self._folder)
            again = "Install the same as here on all machines of the cluster."
            try:
                from embedkit.errors import EmbedkitError, message_of
                from embedkit.versions import code_versions
            except ImportError as error:
                return (
                    "error",
                    ("EmbedkitError", f"embedkit can't be imported there ({error}). {again}"),
                    host,
                )
            own = code_versions()
            for name in sorted(self._versions | own):
                here, there = self._versions.get(name), own.get(name)
                if here != there:
                    said = f"{name} is {there or 'missing'} there, and {here or 'missing'} here."
                    return "error", ("EmbedkitError", f"{said} {again}"), host
            import pickle

            import torch

            torch.set_num_threads(self._threads)
            try:
                work = pickle.loads(self._work)
            except (ImportError, AttributeError) as error:  # a dataset of the user's own
                said = f"the dataset's code is not there ({error}). Install it on all machines."
                return "error", ("EmbedkitError", said), host
            try:
                self._computing = work.begin(self._threads, self._device)
                return "ready", self._computing.device, host
            except (EmbedkitError, OSError) as error:
                return "error", (type(error).__name__, message_of(error)), host

        def settle(self) -> dict[str, Any]:
            return dict(self._computing.settle())

        def compute(self, number: int, settled: dict[str, Any]) -> tuple[str, Any, str]:
            """Compute a part: ``there`` and what came of it, or ``error``, its kind and its words."""
            import socket

            from embedkit.errors import EmbedkitError, message_of

            host, found = socket.gethostname(), []
            try:
                self._computing.compute([number], settled, lambda _, result: found.append(result))
                return "there", found[0], host
            except (EmbedkitError, OSError) as error:
                return "error", (type(error).__name__, message_of(error)), host

    return Hand
