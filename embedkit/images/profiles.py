"""Colour profiles: is there one that says other colours than sRGB, by its name."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from embedkit.images.quiet import no_warnings

# Middling colours: those at the ends of a wide profile are cut to the same numbers in sRGB.
_LOOKED_AT = [(r, g, b) for r in (64, 128, 192) for g in (64, 128, 192) for b in (64, 128, 192)]
# Of 255. sRGB with a plain gamma of 2.2 differs by 2; of Adobe RGB and Display P3 some are cut to 0.
_SAME = 4
_MODES = {"RGB ": "RGB", "GRAY": "L"}


def other_profile(source: bytes, formats: tuple[str, ...]) -> str | None:
    """Return the name of an image's colour profile where its numbers mean other colours than in sRGB.

    None without a profile, with one of sRGB whatever its name, of inks, or one that can't be read.
    """
    try:
        with no_warnings():
            data = Image.open(io.BytesIO(source), formats=formats).info.get("icc_profile")
    except Exception:  # it is said where the image is decoded
        return None
    if not data:
        return None
    try:
        from PIL import ImageCms

        with no_warnings():
            profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
            mode = _MODES.get(f"{profile.profile.xcolor_space:<4}")
            if mode is None or _distance(ImageCms, profile, mode) <= _SAME:
                return None
            return ImageCms.getProfileDescription(profile).strip() or "without a name"
    except Exception:  # a damaged profile says nothing, and the numbers are taken as they are
        return None


def _distance(cms: Any, profile: Any, mode: str) -> int:
    """Return by how much of 255 the profile's colours differ from those of the same numbers in sRGB."""
    colours = Image.new("RGB", (len(_LOOKED_AT), 1))
    colours.putdata(_LOOKED_AT)
    given = colours if mode == "RGB" else colours.getchannel(0)
    found = cms.profileToProfile(
        given,
        profile,
        cms.createProfile("sRGB"),
        renderingIntent=cms.Intent.RELATIVE_COLORIMETRIC,
        outputMode="RGB",
    )
    pairs = zip(given.convert("RGB").tobytes(), found.tobytes(), strict=True)
    return int(max(abs(a - b) for a, b in pairs))
