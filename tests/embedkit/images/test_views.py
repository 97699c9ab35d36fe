import numpy as np
import pytest
from scipy import ndimage

from embedkit.errors import UsageError
from embedkit.images import views as module
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import Preprocessing
from embedkit.images.views import make_views

PLAIN = Preprocessing(image_size=64, resize=64)
PIXELS = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)


def views(pixels, text, *, preprocessing=PLAIN, image_id="a", seed=0):
    return make_views(pixels, preprocessing, ViewSet.parse(text), image_id=image_id, seed=seed)


@pytest.fixture
def pure(monkeypatch):
    """Geometry alone: no noise, blur or change of brightness."""
    monkeypatch.setattr(module, "NOISE_STD", 0.0)
    monkeypatch.setattr(module, "BLUR_SIGMA_PX", 0.0)
    monkeypatch.setattr(module, "BRIGHTNESS", (1.0, 1.0))


def blob(height, width, *, y=0.0, x=0.0, sigma=12.0):
    """A round galaxy, off the centre by (y, x) pixels."""
    rows, columns = np.mgrid[:height, :width]
    r2 = (rows - (height - 1) / 2 - y) ** 2 + (columns - (width - 1) / 2 - x) ** 2
    return 240 * np.exp(-r2 / (2 * sigma**2))


def as_image(*channels):
    return np.rint(np.stack(channels * 3 if len(channels) == 1 else channels, axis=2)).astype(np.uint8)


def moments(channel):
    """Centroid relative to the centre (y, x), and rms radius, of one channel."""
    flux = channel.astype(float)
    y, x = np.mgrid[: flux.shape[0], : flux.shape[1]]
    y, x = y - (flux.shape[0] - 1) / 2, x - (flux.shape[1] - 1) / 2
    cy, cx = (flux * y).sum() / flux.sum(), (flux * x).sum() / flux.sum()
    return cy, cx, np.sqrt((flux * ((y - cy) ** 2 + (x - cx) ** 2)).sum() / flux.sum())


@pytest.mark.parametrize(
    ("text", "n"), [("1", 1), ("rot4", 4), ("d4", 8), ("galaxy:2", 2), ("galaxy:12", 12)]
)
def test_names_are_read_and_given_back(text, n):
    parsed = ViewSet.parse(text)
    assert (parsed.n, parsed.name) == (n, text)
    assert ViewSet.parse(parsed.name) == parsed


@pytest.mark.parametrize(
    "text", ["", "2", "D4", "rot8", "galaxy", "galaxy:", "galaxy:0", "galaxy:1", "galaxy:-3", "galaxy:2.5"]
)
def test_other_names_are_refused(text):
    with pytest.raises(UsageError, match=rf"--views {text}: give 1, rot4, d4 or galaxy:N with N at least 2"):
        ViewSet.parse(text)


def test_one_view_is_the_model_input():
    np.testing.assert_array_equal(views(PIXELS, "1"), PLAIN(PIXELS)[None])


def test_d4_is_the_eight_symmetries_of_the_square():
    made = views(PIXELS, "d4")
    base = PLAIN(PIXELS)
    transposed = base.transpose(1, 0, 2)
    expected = [image[::a, ::b] for image in (base, transposed) for a in (1, -1) for b in (1, -1)]
    assert len({view.tobytes() for view in made}) == 8
    assert {view.tobytes() for view in made} == {np.ascontiguousarray(view).tobytes() for view in expected}
    np.testing.assert_array_equal(made[:4], views(PIXELS, "rot4"))
    np.testing.assert_array_equal(made[0], base)


@pytest.mark.parametrize("size", [64, 63])
def test_views_of_a_symmetric_image_are_all_alike(size):
    square = blob(size, size) + blob(size, size, y=15, sigma=4) + blob(size, size, y=-15, sigma=4)
    symmetric = as_image((square + square.T) / 4)
    for text in ("rot4", "d4"):
        made = views(symmetric, text, preprocessing=Preprocessing(size, size))
        assert (made == made[0]).all()


def test_random_views_depend_on_seed_image_and_number_alone():
    twelve = views(PIXELS, "galaxy:12", seed=3)
    np.testing.assert_array_equal(views(PIXELS, "galaxy:12", seed=3), twelve)
    np.testing.assert_array_equal(views(PIXELS, "galaxy:2", seed=3), twelve[:2])
    assert len({view.tobytes() for view in twelve}) == 12
    for other in ({"seed": 4}, {"seed": 3, "image_id": "b"}):
        assert (views(PIXELS, "galaxy:12", **other) != twelve).any(axis=(1, 2, 3)).all()


@pytest.mark.parametrize("size", [64, 65])
def test_a_round_galaxy_is_the_same_at_every_angle(size, pure, monkeypatch):
    monkeypatch.setattr(module, "SHIFT_PX", 0.0)
    monkeypatch.setattr(module, "SCALE", (1.0, 1.0))
    preprocessing = Preprocessing(size, size)
    image = as_image(blob(size, size))
    made = views(image, "galaxy:10", preprocessing=preprocessing).astype(int)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = np.hypot(y, x) < size / 2 - 2  # beyond it, corners show the mirrored image
    assert np.abs(made - image)[:, inside].max() <= 3  # of 240: the centre stays to a small part of a pixel


def test_shift_and_scale_stay_within_their_ranges_and_use_them(pure):
    image = as_image(blob(224, 224, sigma=16))
    own = moments(image[:, :, 0])
    measured = np.array(
        [moments(view[:, :, 0]) for view in views(image, "galaxy:60", preprocessing=Preprocessing(224, 224))]
    )
    shift, scale = measured[:, :2], measured[:, 2] / own[2]
    # A shift is applied in source pixels, so it appears zoomed.
    assert np.abs(shift).max() <= module.SHIFT_PX * np.sqrt(2) * module.SCALE[1] + 0.1
    assert np.abs(shift).max() > module.SHIFT_PX / 2
    assert module.SCALE[0] - 0.01 <= scale.min() < 0.9
    assert 1.1 < scale.max() <= module.SCALE[1] + 0.01


def test_all_angles_and_both_hands_occur(pure):
    spots = [blob(96, 96, y=24 * np.sin(a), x=24 * np.cos(a), sigma=5) for a in (0, 2.1, 4.2)]
    angles, hands = [], []
    for view in views(as_image(*spots), "galaxy:80", preprocessing=Preprocessing(96, 96)):
        (y0, x0, _), (y1, x1, _), (y2, x2, _) = (moments(view[:, :, i]) for i in range(3))
        angles.append(np.arctan2(y0, x0))
        hands.append((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) > 0)
    assert set(np.floor(np.array(angles) / (np.pi / 4)).astype(int)) == set(range(-4, 4))
    assert 20 < sum(hands) < 60


def test_brightness_blur_and_noise_stay_within_their_ranges():
    flat = np.full((64, 64, 3), 150, np.uint8)
    made = views(flat, "galaxy:60").astype(float)
    means, spread = made.mean(axis=(1, 2, 3)) / 150, made.std(axis=(1, 2, 3))
    assert module.BRIGHTNESS[0] - 0.01 < means.min() < 0.9
    assert 1.1 < means.max() < module.BRIGHTNESS[1] + 0.01
    assert spread.max() <= module.NOISE_STD + 0.1
    assert spread.max() > module.NOISE_STD / 2


@pytest.mark.parametrize("sigma", [0.25, 0.5, 1.0, 2.3])
def test_blur_is_scipys_gaussian(sigma):
    values = np.random.default_rng(0).uniform(0, 255, (13, 9, 3)).astype(np.float32)
    radius = int(np.ceil(3 * sigma))
    expected = ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="nearest", radius=(radius, radius, 0))
    np.testing.assert_allclose(module.blur(values, sigma), expected, atol=1e-3)


def test_a_blur_too_small_to_see_is_left_out():
    values = np.random.default_rng(0).uniform(0, 255, (13, 9, 3)).astype(np.float32)
    np.testing.assert_allclose(
        module.blur(values, 0.19), ndimage.gaussian_filter(values, (0.19, 0.19, 0)), atol=1e-2
    )


SHAPES = [(64, 64), (65, 64), (63, 101), (200, 33), (20, 30), (7, 5), (1, 1), (2, 900), (900, 1), (64, 1000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("size", [32, 33])
def test_every_shape_of_image_gives_full_views(shape, size, pure):
    flat = np.full((*shape, 3), 180, np.uint8)
    for text in ("1", "rot4", "d4", "galaxy:4"):
        made = views(flat, text, preprocessing=Preprocessing(size, size + 5))
        assert made.shape == (ViewSet.parse(text).n, size, size, 3)
        assert made.dtype == np.uint8
        assert np.abs(made.astype(int) - 180).max() <= 1  # no black corner anywhere


def test_corners_show_real_sky_where_the_image_has_some(pure):
    sky = np.full((128, 128, 3), 40, np.uint8)
    sky[44:84, 44:84] = 220  # all that the centre crop of 40 keeps
    made = views(sky, "galaxy:30", preprocessing=Preprocessing(40, 40, center_crop=40))
    assert made.min() <= 50  # a mirrored crop would be 220 throughout


@pytest.mark.parametrize(
    ("size", "shape"), [(224, (256, 256)), (96, (101, 140)), (33, (20, 31)), (64, (300, 299))]
)
def test_compiled_views_are_pillows_to_the_last_bit(size, shape, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    pixels[: shape[0] // 2] = 255  # plain, and with an edge that overshoots
    done = Preprocessing(image_size=size, resize=size + size // 8)
    views = ViewSet.parse("galaxy:20")
    by_pillow = make_views(pixels, done, views, image_id="a", seed=3)
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    monkeypatch.setattr(module, "_QUICK", quick := module._Quick())
    np.testing.assert_array_equal(make_views(pixels, done, views, image_id="a", seed=3), by_pillow)
    assert quick._same


def blank(*given):
    return np.zeros((32, 32, 3), np.uint8)


def not_compiled(*given):
    raise RuntimeError("cannot cache function: no locator available")


@pytest.mark.parametrize("compiled", [blank, not_compiled])
def test_pillow_goes_on_where_compiled_views_would_differ_or_fail(compiled, monkeypatch):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    done, views = Preprocessing(image_size=32, resize=36), ViewSet.parse("galaxy:3")
    by_pillow = make_views(pixels, done, views, image_id="a", seed=3)
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    monkeypatch.setattr(module, "_QUICK", quick := module._Quick())
    monkeypatch.setattr("embedkit.images.compiled_views.compiled_view", compiled)
    for _ in range(2):
        np.testing.assert_array_equal(make_views(pixels, done, views, image_id="a", seed=3), by_pillow)
    assert quick._same is False


def test_views_that_all_meet_an_edge_say_nothing_of_compiled_ones(monkeypatch):
    done, views = Preprocessing(image_size=32, resize=36), ViewSet.parse("galaxy:3")
    monkeypatch.setattr(module, "COMPILED_FROM", 0)
    monkeypatch.setattr(module, "_QUICK", quick := module._Quick())
    monkeypatch.setattr("embedkit.images.compiled_views.lies_within", lambda *given: False)
    make_views(np.zeros((40, 40, 3), np.uint8), done, views, image_id="a", seed=3)
    assert quick._same is None
