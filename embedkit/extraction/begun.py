"""What of an extraction is there already, and whether it is this one's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from embedkit import console
from embedkit.console.starting import starting
from embedkit.console.visible import plain
from embedkit.errors import EmbedkitError, FeatureFileError
from embedkit.extraction.job import Job
from embedkit.extraction.parts import Parts
from embedkit.files.feature_set import file_or_set_sha256, opened_at
from embedkit.files.remote_features import near

SETTLED = ("precision", "device")


def already_there(job: Job, parts: Parts) -> bool:
    """Whether the output is finished and made in just this way; refuses one that was made otherwise."""
    output = parts.output
    if not output.exists() or job.options.overwrite:
        return False
    try:
        with opened_at(output) as file:
            provenance = file.provenance
    except FeatureFileError as error:
        raise EmbedkitError(f"{error} Or give --overwrite to replace it.") from error
    others = differences(job.asked, provenance)
    if others:
        raise EmbedkitError(
            f"{output}: made in another way ({'; '.join(others[:4])}). Give another -o, or --overwrite."
        )
    if parts.any_there():  # killed between the rename and the clean-up
        parts.remove()
    return True


def differences(asked: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Name what `found` has otherwise than `asked`; keys that only `found` has don't matter."""
    named = []
    for key, value in asked.items():
        other = found.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            named += differences(value, other, f"{prefix}{key} ")
        elif _plain(value) != _plain(other):
            named.append(f"{prefix}{key}: {_short(other)} there, {_short(value)} asked for")
    return named


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else text[:12] + "..."


def begin(job: Job, parts: Parts, settle: Callable[[], dict[str, Any]]) -> tuple[bool, dict[str, Any]]:
    """Take up an earlier run's parts, or begin anew; what all parts share is settled once.

    Returns whether parts are there, and what `settle` gave when they were begun (`SETTLED`).
    """
    replaces = file_or_set_sha256(near(parts.output)) if parts.output.exists() else None
    manifest = parts.begun_with(lenient=job.options.overwrite)
    if manifest is not None:
        others = differences(job.asked, manifest["asked"])
        # Where no part is finished, such as after an error that named the option to give, nothing is lost.
        lost = job.options.shard is not None or bool(parts.finished())
        if others and not job.options.overwrite and lost:
            raise EmbedkitError(
                f"{parts.folder}: an unfinished extraction was begun in another way "
                f"({'; '.join(others[:4])}). Finish it with its own options, give another -o, or "
                "--overwrite to throw it away."
            )
        # An interrupted --overwrite goes on too; one that meets other parts begins anew.
        same_overwrite = manifest["overwrite"] and manifest["replaces"] == replaces
        if not others and (same_overwrite or not job.options.overwrite):
            kept = parts.finished()
            if kept:
                console.note(f"Going on: {len(kept)} of {len(parts)} parts are there already.")
            return bool(kept), {name: manifest[name] for name in SETTLED}
        parts.remove_content()
    with starting("computing a first batch ...", plain(sys.stderr)):
        settled = settle()
    manifest = settled | {
        "asked": dict(job.asked),
        "overwrite": job.options.overwrite,
        "replaces": replaces,
    }
    begun = parts.begin(manifest)
    return False, {name: begun[name] for name in SETTLED}
