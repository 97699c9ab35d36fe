"""Weights from the model hub or its local cache; an unreachable hub is said within seconds."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator

from embedkit.console import note
from embedkit.console.visible import plain
from embedkit.errors import EmbedkitError, first_line

# A hub that does not answer in this time is treated as out of reach; huggingface_hub alone retries for
# three quarters of a minute.
HUB_TIMEOUT_SECONDS = 8.0


@contextlib.contextmanager
def hub_or_cache(name: str) -> Iterator[None]:
    """Load from the hub or its cache, and turn an unreachable hub into one clear error within seconds."""
    import huggingface_hub.constants as hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    was_offline = hub.HF_HUB_OFFLINE
    needs_hub = not name.startswith("local-dir:")
    if needs_hub and not was_offline and not in_cache(name):
        note(f"Asking the model hub ({hub.ENDPOINT}) for the weights of {name}.")
    if needs_hub and not was_offline and not hub_reachable():
        note(f"The model hub ({hub.ENDPOINT}) does not answer; looking in the local cache only.")
        hub.HF_HUB_OFFLINE = True
    try:
        # The hub's own bars of a download move the cursor, which must reach the terminal.
        with contextlib.redirect_stderr(plain(sys.stderr)):
            yield
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
        raise EmbedkitError(
            f"the weights of {name} are not in the local cache ({hub.HF_HUB_CACHE}), and the model hub "
            f"({hub.ENDPOINT}) can't be reached. Give a checkpoint with --weights FILE, a folder with "
            "--backbone local-dir:FOLDER, copy a filled cache there, or take the small "
            "--backbone embedkit-galaxy, which needs no hub."
        ) from error
    except HfHubHTTPError as error:
        raise EmbedkitError(f"{name}: the model hub refused it ({first_line(error)}).") from error
    except RuntimeError as error:
        raise EmbedkitError(
            f"{name}: its published weights can't be loaded ({first_line(error)}). "
            "Give a checkpoint with --weights FILE."
        ) from error
    finally:
        hub.HF_HUB_OFFLINE = was_offline


def hub_reachable(timeout: float = HUB_TIMEOUT_SECONDS) -> bool:
    """Whether the model hub answers at all within `timeout` seconds, an unresolvable name included."""
    import huggingface_hub.constants as hub

    answered = threading.Event()

    def ask() -> None:
        request = urllib.request.Request(hub.ENDPOINT, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=timeout).close()
        except urllib.error.HTTPError:
            answered.set()  # an answer, if an unfriendly one
        except OSError:
            return
        else:
            answered.set()

    # A resolver can hang for longer than any socket timeout, hence the thread.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout)
    return answered.is_set()


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Take from the hub's cache alone what is loaded in the block, and ask no network."""
    import huggingface_hub.constants as hub

    before = hub.HF_HUB_OFFLINE
    hub.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = before


def in_cache(name: str) -> bool:
    """Whether the weights of a timm name or of ``hf-hub:owner/name`` lie in the local cache already."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from embedkit.backbones.networks.registry import timm

    of_hub = name.startswith(("hf-hub:", "hf_hub:"))
    try:
        config = None if of_hub else timm.get_pretrained_cfg(name)
    except RuntimeError:  # no name of timm's
        return False
    place = name[len("hf-hub:") :] if of_hub else config.hf_hub_id if config else None
    if not place:
        return False
    place, _, revision = place.partition("@")
    names = ("model.safetensors", "pytorch_model.bin")
    try:
        found = [try_to_load_from_cache(place, file, revision=revision or None) for file in names]
    except HFValidationError:
        return False
    return any(isinstance(file, (str, os.PathLike)) for file in found)
