"""Which names a backbone can be asked for by, and the one that each means."""

from __future__ import annotations

import difflib

from embedkit.backbones.model_folder import LOCAL_DIR
from embedkit.backbones.shipped import SHIPPED
from embedkit.errors import UsageError

HUB = ("hf-hub:", "hf_hub:")
OF_TIMM = ("timm/", *(f"{hub}timm/" for hub in HUB))


def plain_name(name: str) -> str:
    """Return timm's own name of a network that it published: NAME for ``timm/NAME``, ``hf-hub:timm/NAME``."""
    for start in OF_TIMM:
        if name.startswith(start) and _is_timm(name.removeprefix(start)):
            return name.removeprefix(start)
    return name


def check_name(name: str) -> None:
    """Refuse a name that stands for no backbone.

    Raises
    ------
    UsageError
        It is unknown; close ones are named.
    """
    from embedkit.backbones.networks.registry import timm

    if name in SHIPPED or name.startswith((*HUB, LOCAL_DIR)):
        return
    architecture, _, tag = name.partition(".")
    if not _is_timm(name):
        close = difflib.get_close_matches(architecture, [*SHIPPED, *timm.list_models()], n=3)
        hint = f" Close: {', '.join(close)}." if close else ""
        raise UsageError(
            f"unknown backbone {name!r}.{hint} Give a timm name, {', '.join(SHIPPED)}, hf-hub:owner/name, "
            "local-dir:folder or pixels:32."
        )
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UsageError(f"{architecture} has no weights called {tag!r}. Known: {', '.join(tags) or 'none'}.")


def _is_timm(name: str) -> bool:
    from embedkit.backbones.networks.registry import timm

    architecture = name.partition(".")[0]
    # timm takes the end of a path for a name.
    return not set(architecture) & set("/\\:") and bool(timm.is_model(architecture))


def is_published(name: str) -> bool:
    """Whether there can be published weights of a name; False of an architecture that timm has none of."""
    from embedkit.backbones.networks.registry import timm

    # Older names, which timm still takes, are in neither list.
    return bool(name not in timm.list_models() or timm.is_model_pretrained(name))
