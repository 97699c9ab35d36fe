"""What is said of pixels reaches them, from every source, and is told in the origin and the fingerprint."""

import os
import pickle
import socket

import h5py
import numpy as np
import pytest
from PIL import Image

from embedkit.datasets.folder import ImageFiles
from embedkit.datasets.load import load_again, load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.images.decode import decode

RNG = np.random.default_rng(0)
GRIZ = RNG.integers(0, 200, (4, 20, 30, 4), dtype=np.uint8)


def pixels(dataset, row=0):
    return decode(dataset.read(row), dataset.where(row))


@pytest.fixture(params=["npy", "npz", "h5", "first"])
def griz(request, tmp_path):
    path = tmp_path / f"griz.{request.param.replace('first', 'npy')}"
    if request.param == "npy":
        np.save(path, GRIZ)
    elif request.param == "first":
        np.save(path, GRIZ.transpose(0, 3, 1, 2))
    elif request.param == "npz":
        np.savez(path, images=GRIZ)
    else:
        with h5py.File(path, "w") as file:
            file["images"] = GRIZ
    return path


def test_a_fourth_band_is_never_opacity_in_any_container(griz):
    plain = load_dataset(griz)
    with pytest.raises(ImageError, match="nothing says what the fourth is.*--channels 0,1,2"):
        pixels(plain)
    chosen = load_dataset(griz, channels="3,1,0")
    np.testing.assert_array_equal(pixels(chosen, 2), GRIZ[2][:, :, [3, 1, 0]])
    assert chosen.origin["channels"] == [3, 1, 0]
    assert chosen.fingerprint != plain.fingerprint
    again = load_again(chosen.origin)
    assert again.fingerprint == chosen.fingerprint
    np.testing.assert_array_equal(pixels(pickle.loads(pickle.dumps(again)), 2), pixels(chosen, 2))
    assert load_dataset(griz).fingerprint == plain.fingerprint


def test_the_white_of_twelve_bits(tmp_path):
    deep = RNG.integers(0, 4096, (3, 20, 30)).astype(np.uint16)
    np.save(tmp_path / "deep.npy", deep)
    found = load_dataset(tmp_path / "deep.npy", white=4095)
    np.testing.assert_array_equal(pixels(found, 1)[:, :, 0], np.floor(deep[1] / 4095 * 255 + 0.5))
    with pytest.raises(UsageError, match="--white 0: give a number above 0"):
        load_dataset(tmp_path / "deep.npy", white=0)


def test_fits_tells_its_stretch(tmp_path, capsys):
    fits = pytest.importorskip("astropy.io.fits")
    folder = tmp_path / "sky"
    folder.mkdir()
    for name in ("a.fits", "b.FIT", "c.fits.gz"):
        fits.writeto(folder / f"{name}", RNG.normal(9, 2, (20, 30)))
    found = load_dataset(folder)
    assert list(found.rows.ids) == ["a.fits", "b.FIT", "c.fits.gz"]
    assert "drawn by asinh from the 0.5th to the 99.5th percentile" in capsys.readouterr().err
    assert found.origin == {"source": str(folder), "stretch": "asinh", "percentiles": [0.5, 99.5]}
    other = load_dataset(folder, stretch="linear", percentiles=(1, 99))
    assert other.fingerprint != found.fingerprint
    assert load_again(other.origin).fingerprint == other.fingerprint
    assert not np.array_equal(pixels(other), pixels(found))
    table = tmp_path / "sky.csv"
    table.write_text("file\nsky/a.fits\n")
    np.testing.assert_array_equal(pixels(load_dataset(table)), pixels(found))
    assert load_dataset(table).origin["stretch"] == "asinh"


def test_options_of_fits_without_fits(tmp_path):
    Image.fromarray(GRIZ[0][:, :, :3]).save(tmp_path / "a.png")
    with pytest.raises(UsageError, match="--hdu is of FITS, and .* has none"):
        load_dataset(tmp_path, hdu="1")
    with pytest.raises(UsageError, match="--white and --stretch .* exclude each other"):
        load_dataset(tmp_path, white=3, stretch="log")


def test_fits_without_astropy(tmp_path, monkeypatch):
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =")
    monkeypatch.setattr("embedkit.datasets.pixels.has_astropy", lambda: False)
    with pytest.raises(EmbedkitError, match=r"1 of its images are FITS.*Install embedkit-images\[fits\]"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (".jfif", "JPEG"),
        (".JPE", "JPEG"),
        (".jif", "JPEG"),
        (".TIF", "TIFF"),
        (".dib", "BMP"),
        (".AVIF", "AVIF"),
        (".pbm", "PPM"),
        (".pnm", "PPM"),
        (".PGM", "PPM"),
        (".j2k", "JPEG2000"),
        (".jpx", "JPEG2000"),
    ],
)
def test_every_ending_of_a_format_is_known(tmp_path, ending, kind):
    grey = Image.fromarray(GRIZ[0][:, :, 0])
    grey.save(tmp_path / f"a{ending}", kind)
    found = load_dataset(tmp_path)
    assert list(found.rows.ids) == [f"a{ending}"]
    assert pixels(found).shape == (20, 30, 3)


def test_links_are_followed_on_request_and_circles_end(tmp_path, capsys):
    picture = Image.fromarray(GRIZ[0][:, :, :3])
    own, other = tmp_path / "own", tmp_path / "other"
    for folder in (own / "a", own / "b", other / "deep"):
        folder.mkdir(parents=True)
        picture.save(folder / "x.png")
    (own / "c").symlink_to(other)
    (other / "deep" / "back").symlink_to(own)  # a circle
    (own / "z").symlink_to("a")  # the same folder again
    (own / "broken").symlink_to("nowhere")
    (own / "round").symlink_to("round")
    (own / "b" / "y.png").symlink_to(other / "deep" / "x.png")
    plain = load_dataset(own)
    assert list(plain.rows.ids) == ["a/x.png", "b/x.png"]
    assert "left out 5 links" in capsys.readouterr().err
    found = load_dataset(own, follow_links=True)
    assert list(found.rows.ids) == ["a/x.png", "b/x.png", "b/y.png", "c/deep/x.png"]
    said = capsys.readouterr().err
    assert "2 links that lead to nothing or in a circle" in said
    assert "2 links to folders that were read already" in said
    assert load_again(found.origin).fingerprint == found.fingerprint


def test_pipes_sockets_and_devices_are_never_waited_for(tmp_path, capsys, monkeypatch):
    Image.fromarray(GRIZ[0][:, :, :3]).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("/dev/zero")
    monkeypatch.chdir(tmp_path)  # a socket's path may be short only
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("d.png")
        assert list(load_dataset(tmp_path).rows.ids) == ["a.png"]
        assert "2 that are pipes, sockets or devices" in capsys.readouterr().err
        assert list(load_dataset(tmp_path, follow_links=True).rows.ids) == ["a.png"]
        assert "3 that are pipes, sockets or devices" in capsys.readouterr().err
        for name in ("b.png", "c.png", "d.png"):
            table = tmp_path / "t.csv"
            table.write_text(f"file\na.png\n{name}\n")
            with pytest.raises(EmbedkitError, match=f"line 3: '{name}' is a folder, pipe or device"):
                load_dataset(table)
            with pytest.raises(ImageError, match="not a regular file"):  # put there later
                ImageFiles(tmp_path, [name]).read(0)


def test_a_file_of_too_many_bytes_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)  # takes no room
    with pytest.raises(ImageError, match="3,221,225,472 bytes, over the limit"):
        load_dataset(tmp_path).read(0)


@pytest.mark.parametrize("first", [False, True], ids=["channels last", "channels first"])
def test_all_that_a_model_of_many_channels_takes_comes_out(tmp_path, first):
    values = np.random.default_rng(0).integers(0, 4096, (3, 20, 30, 4)).astype(np.uint16)
    np.save(tmp_path / "bands.npy", np.moveaxis(values, 3, 1) if first else values)
    source = str(tmp_path / "bands.npy")
    expected = np.floor(values * (255 / 4095) + 0.5)
    for channels in (None, (3, 2, 1, 0)):
        dataset = load_dataset(source, white=4095.0, channels=channels)
        order = channels or (0, 1, 2, 3)
        for row in range(3):
            found = decode(dataset.read(row), "x", channels=4)
            np.testing.assert_array_equal(found, expected[row][:, :, order])
        # A backbone of three is not given the first three of four.
        with pytest.raises(ImageError, match="4 channels, and nothing says what the fourth is"):
            decode(dataset.read(0), "x")
