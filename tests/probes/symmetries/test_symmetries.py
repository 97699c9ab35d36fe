import json

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.stats import norm

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.images.preprocess import Preprocessing
from probes.symmetries.run import NO, UNCLEAR, YES, Symmetries, Symmetry
from probes.symmetries.telling_apart import halves, told_apart
from probes.symmetries.transformations import TRANSFORMATIONS, Frame, pictures

SMALL = {"backbone": "embedkit-galaxy", "precision": "fp32"}
# What a texture without direction, place or scale does not mind.
GEOMETRY = ("quarter-turn", "half-turn", "angle", "mirror", "zoom", "shift")


def white(rng: np.random.Generator, side: int) -> np.ndarray:
    grey = np.clip(np.rint(128 + 25 * rng.standard_normal((side, side))), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def scale_free(rng: np.random.Generator, side: int) -> np.ndarray:
    """Noise whose power falls with the square of the frequency: alike in any direction and at any zoom."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side)))
    spectrum = np.where((f > 0) & (f < 0.5), 1 / np.maximum(f, 1 / side), 0)
    z = np.fft.ifft2(np.fft.fft2(rng.standard_normal((side, side))) * spectrum).real
    grey = np.clip(np.rint(120 + 25 * z / z.std()), 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def spectrum(pixels: np.ndarray) -> np.ndarray:
    """Log energy by frequency and direction: a sharper eye for resampling than any network."""
    z = pixels.mean(axis=2)
    window = np.hanning(len(z))
    energy = np.abs(np.fft.fft2((z - z.mean()) * window[:, None] * window)) ** 2
    y, x = np.meshgrid(np.fft.fftfreq(len(z)), np.fft.fftfreq(len(z)), indexing="ij")
    ring = (np.hypot(y, x) / 0.06).astype(int)
    part = np.rint(np.arctan2(y, x) / (np.pi / 4)).astype(int) % 4
    cell = (4 * ring + part).ravel()
    total = np.bincount(cell, energy.ravel())
    return np.log(total / np.maximum(np.bincount(cell), 1) + 1e-3).astype(np.float32)


@pytest.mark.parametrize(("source", "resize"), [(100, 72), (64, 64), (40, 64)])
def test_no_trace_of_resampling_tells_the_halves_apart(source, resize):
    """White noise is worst: all of it lies where kernels differ. Turned without its like it reads 1."""
    n, rng = 160, np.random.default_rng(1)
    names = ("quarter-turn", "angle", "shift")
    preprocessing = Preprocessing(image_size=64, resize=resize)
    half = halves(n, len(names), seed=0)
    x = []
    for i in range(n):
        frame = Frame.of(white(rng, source), preprocessing, "noise", across=i % 2 == 1)
        draws = [np.random.default_rng([7, i, j]) for j in range(len(names))]
        drawn = [TRANSFORMATIONS[name].picture(frame, draws[j], half[i, j]) for j, name in enumerate(names)]
        x.append([spectrum(one) for one in drawn])
    for j, name in enumerate(names):
        auc = told_apart(np.stack(x)[:, j], half[:, j], seed=0)
        assert 0.3 < auc.value < 0.7, (name, auc)
    plain = [spectrum(Frame.of(white(rng, source), preprocessing, "noise").shown) for _ in range(n)]
    x = np.where(half[:, 1:2], np.stack(x)[:, 1], np.stack(plain))
    assert told_apart(x, half[:, 1], seed=0).value > 0.99


def test_scale_free_noise_minds_no_geometry(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "noise.npy", np.stack([scale_free(rng, 128) for _ in range(160)]))
    found = embedkit.symmetries(tmp_path / "noise.npy", **SMALL)
    for name in GEOMETRY:
        assert found[name].low < 0.55, found[name]
        assert found[name].verdict != YES
    # All of one sharpness.
    assert found["blur"].verdict == YES


def test_a_gradient_minds_turns_and_no_mirror(tmp_path):
    rng = np.random.default_rng(0)
    ramp = np.linspace(60, 180, 80)[:, None, None] * rng.uniform(0.8, 1.2, (100, 1, 1, 1))
    images = ramp + rng.normal(0, 4, (100, 80, 80, 3))
    np.save(tmp_path / "sky.npy", np.clip(images, 0, 255).astype(np.uint8))
    found = embedkit.symmetries(tmp_path / "sky.npy", **SMALL)
    for name in ("quarter-turn", "half-turn", "angle"):
        assert found[name].roc_auc > 0.9
        assert found[name].verdict == YES
    assert found["mirror"].roc_auc < 0.62
    assert found["mirror"].verdict != YES


def test_letters_mind_being_mirrored_and_turned(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(120):
        image = Image.new("RGB", (72, 72), tuple(int(v) for v in rng.integers(190, 250, 3)))
        at = tuple(int(v) for v in rng.integers(8, 20, 2))
        ImageDraw.Draw(image).text(at, "FRPEL"[i % 5], fill=(20, 20, 40), font=ImageFont.load_default(48))
        image.save(tmp_path / f"{i:03d}.png")
    found = embedkit.symmetries(tmp_path, **SMALL)
    for name in ("quarter-turn", "half-turn", "mirror"):
        assert found[name].roc_auc > 0.62, found[name]
        assert found[name].verdict != NO


def test_either_half_goes_through_the_same():
    rng = np.random.default_rng(0)
    frame = Frame.of(white(rng, 90), Preprocessing(image_size=64, resize=72), "x")
    every = len(TRANSFORMATIONS)
    plain, again = (pictures(frame, np.zeros(every, bool), key=5, seed=3) for _ in range(2))
    done = pictures(frame, np.ones(every, bool), key=5, seed=3)
    assert plain.shape == done.shape == (every, 64, 64, 3)
    np.testing.assert_array_equal(plain, again)
    at = {name: i for i, name in enumerate(TRANSFORMATIONS)}
    np.testing.assert_array_equal(plain[at["mirror"]], frame.shown)
    np.testing.assert_array_equal(done[at["mirror"]], frame.shown[:, ::-1])
    np.testing.assert_array_equal(done[at["half-turn"]], frame.shown[::-1, ::-1])
    quarter = done[at["quarter-turn"]]
    assert any(np.array_equal(quarter, np.rot90(frame.shown, turns)) for turns in (1, 3))
    # Bright enough to tell, and nothing is cut off.
    ratio = done[at["brightness"]].mean() / plain[at["brightness"]].mean()
    assert ratio == pytest.approx(4 / 3, abs=0.01)
    white_page = Frame(np.full((64, 64, 3), 255, np.uint8), 64, 1.5)
    assert TRANSFORMATIONS["brightness"].picture(white_page, rng, True).max() < 255


@pytest.mark.parametrize("shape", [(64, 64), (300, 200), (9, 5), (70, 300)])
def test_no_corner_is_black(shape):
    """A white image stays white, whatever is done to it."""
    frame = Frame.of(np.full((*shape, 3), 255, np.uint8), Preprocessing(image_size=64, resize=64), "x")
    for name, one in TRANSFORMATIONS.items():
        for seed in range(5):
            for transformed in (False, True):
                shown = one.picture(frame, np.random.default_rng(seed), transformed)
                assert shown.shape == (64, 64, 3)
                assert shown.min() == shown.max(), name


def test_turned_on_and_back_is_the_picture_itself():
    """Smooth pixels come back within a few levels, and an angle is that angle."""
    y, x = np.mgrid[:64, :64] / 64
    smooth = np.repeat((120 + 60 * np.sin(5 * x) + 40 * y)[:, :, None], 3, axis=2).astype(np.uint8)
    frame = Frame(smooth, 64, 1.5)
    side = frame.room(1.5, turned=True)
    plain = frame.softened(1.5).resampled(64, side=side).pixels.astype(int)
    back = TRANSFORMATIONS["angle"].picture(frame, np.random.default_rng(1), False).astype(int)
    assert np.abs(back - plain).max() <= 4
    quarter = frame.softened(1.5).resampled(64, side=side, angle=np.pi / 2).pixels.astype(int)
    assert np.abs(quarter - np.rot90(plain)).max() <= 1 or np.abs(quarter - np.rot90(plain, 3)).max() <= 1


def test_the_area_is_that_of_two_gaussians_and_its_interval_covers_it():
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(40):
        half = halves(200, 1, seed=seed)[:, 0]
        assert half.sum() == 100
        nothing = told_apart(rng.standard_normal((200, 12)).astype(np.float32), half, seed=seed)
        covered.append(nothing.low <= 0.5 <= nothing.high)
    assert np.mean(covered) > 0.7
    half = halves(2000, 1, seed=0)[:, 0]
    x = rng.standard_normal((2000, 3)).astype(np.float32)
    x[half, 0] += 1.5
    assert told_apart(x, half, seed=0).value == pytest.approx(norm.cdf(1.5 / np.sqrt(2)), abs=0.03)


def test_what_can_not_be_asked_says_why(tmp_path):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (45, 20, 14, 3), dtype=np.uint8)
    np.save(tmp_path / "few.npy", images[:39])
    with pytest.raises(EmbedkitError, match="39 images, and at least 40 are needed"):
        embedkit.symmetries(tmp_path / "few.npy", **SMALL)
    np.save(tmp_path / "plain.npy", np.full((45, 20, 20, 3), 90, np.uint8))
    with pytest.raises(EmbedkitError, match="each of the 45 images is of one colour"):
        embedkit.symmetries(tmp_path / "plain.npy", **SMALL)
    np.save(tmp_path / "all.npy", images)
    with pytest.raises(UsageError, match="sees 8 pixels a side"):
        embedkit.symmetries(tmp_path / "all.npy", backbone="pixels:8")
    with pytest.raises(UsageError, match="--limit"):
        embedkit.symmetries(tmp_path / "all.npy", limit=39, **SMALL)
    with pytest.raises(EmbedkitError, match=r"0 images that can be read \(.*centre crop of 50"):
        embedkit.symmetries(tmp_path / "all.npy", center_crop=50, **SMALL)
    for i, one in enumerate(images):
        Image.fromarray(one).save(tmp_path / f"{i:02d}.png")
    for i in range(6):
        (tmp_path / f"{i:02d}.png").write_bytes(b"no image")
    with pytest.raises(EmbedkitError, match="39 images that can be read"):
        embedkit.symmetries(tmp_path, **SMALL)
    (tmp_path / "few.png").write_bytes((tmp_path / "20.png").read_bytes())
    found = embedkit.symmetries(tmp_path, **SMALL)  # oblong and tiny
    assert found.n == 40
    assert "Left out 6 images that could not be read, such as" in found.notes[0]


def test_the_command_says_it_in_words_and_in_json(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).integers(0, 255, (50, 24, 24, 3), dtype=np.uint8))
    line = ["symmetries", str(tmp_path / "a.npy"), "--backbone", "pixels:32"]
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "being turned by a quarter" in said
    assert "These images" in said
    assert main([*line, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["symmetries"]] == list(TRANSFORMATIONS)
    assert document["n"] == 50
    again = embedkit.symmetries(tmp_path / "a.npy", backbone="pixels:32", workers=1)
    assert again.document() == document
    assert list(again.to_pandas()["name"]) == list(TRANSFORMATIONS)


def test_sentences_and_tables():
    found = (
        Symmetry("mirror", "being mirrored", 0.55, 0.5, 0.61, NO),
        Symmetry("angle", "being turned", 0.5, 0.45, 0.55, NO),
        Symmetry("blur", "being blurred", 1.0, None, None, YES),
        Symmetry("zoom", "being enlarged", 0.6, 0.5, 0.7, UNCLEAR),
    )
    report = Symmetries("stars", "vit", 300, found)
    assert report.sentences == (
        "These images don't mind being mirrored (AUC 0.55, 0.50 to 0.61) or being turned (AUC 0.50, 0.45 to "
        "0.55).",
        "These images mind being blurred (AUC 1.00).",
        "These images may mind being enlarged (AUC 0.60, 0.50 to 0.70); more images would tell.",
    )
    assert "being mirrored" in report._repr_html_()
    assert "300 images of stars" in repr(report)
