import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from embedkit.cli import main
from embedkit.images.remarks import remarks

D50 = (0.9642, 1.0, 0.8249)
# Primaries in XYZ, adapted to D50: of the specification of Adobe RGB (1998), of Display P3, and of sRGB.
ADOBE = [(0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)]
P3 = [(0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407)]
SRGB = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def xyz(values):
    return b"XYZ " + bytes(4) + b"".join(struct.pack(">i", round(65536 * value)) for value in values)


def icc(name, primaries, gamma):
    """The smallest profile of three primaries, or of grey, and one gamma, after ICC.1:2001-04."""
    text = name.encode() + b"\0"
    curve = b"curv" + bytes(4) + struct.pack(">IHH", 1, round(256 * gamma), 0)
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(78), b"wtpt": xyz(D50)}
    if primaries is None:
        tags[b"kTRC"] = curve
    else:
        for letter, primary in zip(b"rgb", primaries, strict=True):
            tags |= {bytes([letter]) + b"XYZ": xyz(primary), bytes([letter]) + b"TRC": curve}
    table, body = struct.pack(">I", len(tags)), b""
    for key, value in tags.items():
        table += key + struct.pack(">II", 132 + 12 * len(tags) + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    space = b"GRAY" if primaries is None else b"RGB "
    head = struct.pack(">I4sI", 128 + len(table) + len(body), b"lcms", 0x02100000) + b"mntr" + space + b"XYZ "
    head += bytes(12) + b"acsp" + bytes(28) + xyz(D50)[8:]
    return head.ljust(128, b"\0") + table + body


def picture(profile, kind="PNG", mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, kind, icc_profile=profile)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize(("name", "primaries"), [("Adobe RGB (1998)", ADOBE), ("Display P3", P3)])
def test_another_profile_is_named(kind, name, primaries):
    (said,) = remarks([picture(None, kind), picture(icc(name, primaries, 563 / 256), kind)])
    assert said.startswith(f"images carry the colour profile '{name}', which is not applied")


@pytest.mark.parametrize(
    "profile",
    [
        None,
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        icc("c2", SRGB, 2.2),  # sRGB by its colours, whatever it is called
        b"no profile" * 30,
        icc("Adobe RGB (1998)", ADOBE, 2.2)[:200],
    ],
)
def test_nothing_is_said_of_srgb_and_of_what_is_no_profile(profile):
    assert remarks([picture(profile)]) == []


def test_greys_are_held_against_the_curve_of_srgb():
    assert remarks([picture(icc("Gray Gamma 2.2", None, 2.2), mode="L")]) == []
    (said,) = remarks([picture(icc("Gray Gamma 1.8", None, 1.8), mode="L")])
    assert "'Gray Gamma 1.8'" in said


def test_an_extraction_says_it_once(tmp_path, capsys):
    (tmp_path / "images").mkdir()
    for i in range(12):
        (tmp_path / "images" / f"{i}.png").write_bytes(picture(icc("Adobe\x1b[31m RGB", ADOBE, 2.2)))
    words = ["extract", str(tmp_path / "images"), "--backbone", "pixels:4", "-o", str(tmp_path / "f.h5")]
    assert main(words) == 0
    said = capsys.readouterr().err
    assert said.count("colour profile") == 1
    assert "\x1b" not in said
