"""The datasets that are known by name."""

import csv
import hashlib
import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from embedkit.datasets.first_radio import CLASS_NAMES as RADIO_CLASSES
from embedkit.datasets.galaxies import ARCHIVE as GALAXIES
from embedkit.datasets.galaxy_zoo_2 import ANSWERS
from embedkit.datasets.load import DATASETS, load_again, load_dataset
from embedkit.datasets.simulated import CLASS_NAMES as KINDS
from embedkit.datasets.simulated import draw
from embedkit.errors import EmbedkitError, UsageError
from embedkit.images.decode import decode


def write_galaxy10(path: Path, n: int = 20, size: int = 16) -> np.ndarray:
    """A small file of the published layout."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8)
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=images, compression="gzip", chunks=(n // 2, 8, 8, 1))
        file["ans"] = np.arange(n, dtype=np.uint8) % 10
        file["ra"] = np.linspace(5, 300, n)
        file["dec"] = np.linspace(-80, 80, n)
        file["redshift"] = np.where(np.arange(n) == 3, np.nan, 0.1)
        file["pxscale"] = np.full(n, 0.262)
    return images


# --- Galaxy10 --------------------------------------------------------------------------------------------


def test_galaxy10_reads_the_published_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = write_galaxy10(tmp_path / "Galaxy10_DECals.h5")
    dataset = load_dataset("galaxy10-decals", path=str(tmp_path))
    rows = dataset.rows
    assert rows.ids.tolist() == [str(i) for i in range(20)]
    assert rows.class_names[3] == "In-between Round Smooth"
    assert rows.labels.tolist() == [i % 10 for i in range(20)]
    assert rows.target_names == ("redshift", "pxscale")
    assert np.isnan(rows.targets[3, 0])
    assert rows.targets[4].tolist() == pytest.approx([0.1, 0.262])
    assert rows.coordinates[0].tolist() == [5, -80]
    assert rows.group is None
    for row in (19, 0, 11):
        np.testing.assert_array_equal(decode(dataset.read(row), dataset.where(row)), images[row])
    assert "20 images; the published galaxy10-decals has 17,736" in capsys.readouterr().err
    assert load_dataset(**json.loads(json.dumps(dataset.origin))).fingerprint == dataset.fingerprint


def test_galaxy10_sdss_has_its_own_classes_and_may_lack_positions(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "Galaxy10.h5", "w") as file:
        file["images"] = np.zeros((3, 69, 69, 3), np.uint8)
        file["ans"] = np.array([0, 5, 9])
    rows = load_dataset("galaxy10-sdss", path=str(tmp_path / "Galaxy10.h5")).rows
    assert rows.class_names[rows.labels[1]] == "Disk, Edge-on, Boxy Bulge"
    assert (rows.coordinates, rows.targets) == (None, None)


def test_galaxy10_rows_of_one_galaxy_share_a_group(tmp_path: Path) -> None:
    path = tmp_path / "Galaxy10_DECals.h5"
    write_galaxy10(path, 20)
    with h5py.File(path, "r+") as file:
        file["ra"][:6] = [10, 359.99999, 10 + 0.5 / 3600, 0.00001, 20, 20]
        file["dec"][:6] = [0, 0, 0, 0, 0, 3 / 3600]
    group = load_dataset("galaxy10-decals", path=str(path)).rows.group
    assert group[0] == group[2] == "0"
    assert group[1] == group[3] == "1"  # 0.07 arcsec apart across the meridian
    assert (group[4:] == "").all()  # 3 arcsec apart, or far


def test_galaxy10_of_another_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["pixels"] = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(EmbedkitError, match="not a Galaxy10 file: images and ans not in it"):
        load_dataset("galaxy10-decals", path=str(tmp_path / "a.h5"))
    with pytest.raises(EmbedkitError, match=r"Galaxy10_DECals\.h5: no such file\. Give .* with --path"):
        load_dataset("galaxy10-decals", path=str(tmp_path))


def test_galaxy10_with_a_label_outside_its_classes(tmp_path: Path) -> None:
    write_galaxy10(tmp_path / "Galaxy10_DECals.h5")
    with h5py.File(tmp_path / "Galaxy10_DECals.h5", "r+") as file:
        file["ans"][7] = 11
    with pytest.raises(EmbedkitError, match="label 11 of '7' is outside the 10 classes"):
        load_dataset("galaxy10-decals", path=str(tmp_path))


# --- Galaxy Zoo 2 ----------------------------------------------------------------------------------------


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Five training and two test galaxies in the challenge's layout."""
    votes = np.zeros((5, 37))
    votes[:, 0] = [0.9, 0.6, 0.5, 0.2, 0.05]
    votes[:, 1] = [0.1, 0.3, 0.5, 0.6000001, 0.05]
    votes[:, 2] = 1 - votes[:, 0] - votes[:, 1]
    lines = [",".join(["GalaxyID", *ANSWERS])]
    (tmp_path / "images_training_rev1").mkdir()
    (tmp_path / "images_test_rev1").mkdir()
    for i, row in enumerate(votes):
        lines.append(",".join([f"10000{i}", *(f"{vote:.7g}" for vote in row)]))
        Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "images_training_rev1" / f"10000{i}.jpg")
    for name in ("20", "3"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images_test_rev1" / f"{name}.jpg")
    (tmp_path / "training_solutions_rev1.csv").write_text("\n".join(lines))
    return tmp_path


def test_galaxy_zoo_2_has_37_targets_under_the_official_names(challenge: Path) -> None:
    dataset = load_dataset("galaxy-zoo-2", path=str(challenge))
    assert len(ANSWERS) == len(set(ANSWERS.values())) == 37
    assert dataset.rows.target_names == tuple(ANSWERS)
    assert dataset.rows.targets.shape == (5, 37)
    assert dataset.rows.labels is None
    assert dataset.rows.ids.tolist() == [f"10000{i}" for i in range(5)]
    assert decode(dataset.read(4), "x").shape == (8, 8, 3)


def test_every_answer_is_named_once_and_tasks_agree() -> None:
    tasks = {int(name[5:].split(".")[0]) for name in ANSWERS}
    assert tasks == set(range(1, 12))
    for name, answer in ANSWERS.items():
        assert int(answer[1:3]) == int(name[5:].split(".")[0])
    numbers = [int(re.findall(r"_a(\d\d)_", answer)[-1]) for answer in ANSWERS.values()]
    # Willett et al. 2013: answers 1 to 38 but 35, dust lane (38) among the odd features.
    assert sorted(numbers) == [number for number in range(1, 39) if number != 35]


def test_galaxy_zoo_2_threshold_labels_and_drops(challenge: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = load_dataset("galaxy-zoo-2", path=str(challenge), threshold=0.6)
    assert dataset.rows.ids.tolist() == ["100000", "100001", "100003"]
    assert [dataset.rows.class_names[label] for label in dataset.rows.labels] == [
        "smooth",
        "smooth",
        "featured",
    ]
    assert dataset.rows.targets.shape == (3, 37)
    assert dataset.where(2).endswith("100003.jpg")
    assert "2 of 5 images dropped below 0.6" in capsys.readouterr().err
    assert load_dataset(**dataset.origin).fingerprint == dataset.fingerprint


def test_galaxy_zoo_2_test_images(challenge: Path) -> None:
    dataset = load_dataset("galaxy-zoo-2", path=str(challenge), subset="test")
    assert dataset.rows.ids.tolist() == ["20", "3"]
    assert dataset.rows.targets is None
    assert dataset.name == "galaxy-zoo-2-test"


def test_galaxy_zoo_2_unpacked_one_folder_deeper(challenge: Path) -> None:
    inner = challenge / "images_training_rev1"
    inner.rename(challenge / "moved")
    inner.mkdir()
    (challenge / "moved").rename(inner / "images_training_rev1")
    assert len(load_dataset("galaxy-zoo-2", path=str(challenge))) == 5


@pytest.mark.parametrize("threshold", [0.5, 0.0, 1.01, float("nan")])
def test_galaxy_zoo_2_threshold_outside_its_range(challenge: Path, threshold: float) -> None:
    with pytest.raises(UsageError, match=r"is outside 0\.5 to 1"):
        load_dataset("galaxy-zoo-2", path=str(challenge), threshold=threshold)


def test_galaxy_zoo_2_wrong_use(challenge: Path) -> None:
    with pytest.raises(UsageError, match="needs --path"):
        load_dataset("galaxy-zoo-2")
    with pytest.raises(UsageError, match="--subset valid: unknown. Give one of training, test"):
        load_dataset("galaxy-zoo-2", path=str(challenge), subset="valid")
    with pytest.raises(UsageError, match="have no votes, so --threshold does not apply"):
        load_dataset("galaxy-zoo-2", path=str(challenge), subset="test", threshold=0.6)
    with pytest.raises(EmbedkitError, match="no image reaches the threshold 0.95"):
        load_dataset("galaxy-zoo-2", path=str(challenge), threshold=0.95)
    with pytest.raises(EmbedkitError, match=r"no images_training_rev1 there. Unpack"):
        load_dataset("galaxy-zoo-2", path=str(challenge / "images_test_rev1"))


def test_galaxy_zoo_2_missing_parts(challenge: Path) -> None:
    (challenge / "images_training_rev1" / "100002.jpg").unlink()
    with pytest.raises(EmbedkitError, match=r"1 of 5 files.*100002\.jpg.*Unpack images_training_rev1\.zip"):
        load_dataset("galaxy-zoo-2", path=str(challenge))
    table = challenge / "training_solutions_rev1.csv"
    table.write_text(table.read_text().replace("Class11.6", "Class11.7"))
    with pytest.raises(EmbedkitError, match=r"1 of its 38 columns are missing, such as 'Class11\.6'"):
        load_dataset("galaxy-zoo-2", path=str(challenge))


def test_galaxy_zoo_2_on_real_files(shared: Path) -> None:
    dataset = load_dataset("galaxy-zoo-2", path=str(shared / "data" / "gz_kaggle_sample"), threshold=0.6)
    assert dataset.rows.ids.tolist() == ["100008", "100023", "100053"]
    assert [dataset.rows.class_names[label] for label in dataset.rows.labels] == [
        "featured",
        "featured",
        "smooth",
    ]
    assert decode(dataset.read(0), "x").shape == (424, 424, 3)


# --- FIRST -----------------------------------------------------------------------------------------------


@pytest.fixture
def radio() -> None:
    pytest.importorskip("h5py")
    import importlib.util

    if importlib.util.find_spec("firstgalaxydata") is None:
        pytest.skip("firstgalaxydata is not installed (the extra `sample`)")


@pytest.mark.usefixtures("radio")
def test_first_radio_has_the_published_counts_and_no_copies() -> None:
    dataset = load_dataset("first-radio")
    rows = dataset.rows
    table = {
        split: [int(((rows.split == split) & (rows.labels == label)).sum()) for label in range(4)]
        for split in ("train", "validation", "test")
    }
    assert table == {"train": [395, 824, 291, 248], "validation": [50] * 4, "test": [50] * 4}
    assert rows.class_names == RADIO_CLASSES
    assert np.isfinite(rows.coordinates).all()
    assert np.abs(rows.coordinates[:, 1]).max() <= 90
    # Whether two galaxies are one picture: the compressed bytes tell, without decoding 2,158 files.
    digests = {hashlib.sha256(dataset.read(row)).digest() for row in range(len(dataset))}
    assert len(digests) == 2158
    assert decode(dataset.read(0), dataset.where(0)).shape == (300, 300, 3)
    assert pickle.loads(pickle.dumps(dataset.read))(7) == dataset.read(7)
    assert load_dataset(**dataset.origin).fingerprint == dataset.fingerprint


@pytest.mark.usefixtures("radio")
def test_first_radio_labels_agree_with_the_names_of_the_files() -> None:
    dataset = load_dataset("first-radio")
    for row in range(0, 2158, 17):
        member = dataset.where(row).split("/")[-1]
        assert int(member.split("_")[2]) == dataset.rows.labels[row]


def test_first_radio_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        EmbedkitError, match=r"not installed\. Install it: pip install firstgalaxydata==0\.2\.1"
    ):
        load_dataset("first-radio")


def test_first_radio_of_another_version(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    with zipfile.ZipFile(tmp_path / "galaxy_data.zip", "w") as archive:
        archive.writestr("galaxy_data/train/FRI/1.0_-2.0_0_Gendre.png", buffer.getvalue())
    with pytest.raises(EmbedkitError, match="1 images where 2,158 are published"):
        load_dataset("first-radio", path=str(tmp_path))
    (tmp_path / "galaxy_data.zip").write_bytes(b"not a zip")
    with pytest.raises(EmbedkitError, match="cannot be read"):
        load_dataset("first-radio", path=str(tmp_path))


# --- galaxies --------------------------------------------------------------------------------------------


def test_the_galaxies_that_come_with_embedkit() -> None:
    dataset = load_dataset("galaxies")
    counts = np.bincount(dataset.rows.labels)
    assert dict(zip(dataset.rows.class_names, counts.tolist(), strict=True)) == {
        "edge_on": 89,
        "elliptical": 415,
        "merger": 20,
        "spiral": 76,
    }
    # SDSS DR7 object ids: run and field stand in 18 digits, the first of which are alike.
    assert all(name.isdecimal() and len(name) == 18 and name.startswith("58") for name in dataset.rows.ids)
    digests = {hashlib.sha256(dataset.read(row)).digest() for row in range(len(dataset))}
    assert len(digests) == 600
    for row in range(0, 600, 37):
        assert decode(dataset.read(row), dataset.where(row)).shape == (128, 128, 3)
    assert pickle.loads(pickle.dumps(dataset.read))(7) == dataset.read(7)
    assert load_again(dataset.origin).fingerprint == dataset.fingerprint
    assert GALAXIES.stat().st_size < 3_000_000


def test_the_galaxies_are_those_that_the_digests_of_their_names_choose(shared: Path) -> None:
    folder = shared / "data" / "gz1"
    with (folder / "labels.csv").open(newline="") as stream:
        labels = {line["file"]: line["label"] for line in csv.DictReader(stream)}
    mergers = sorted(
        (name for name, label in labels.items() if label == "merger"),
        key=lambda name: hashlib.sha256(name.encode()).hexdigest(),
    )
    dataset = load_dataset("galaxies")
    named = np.array(dataset.rows.class_names)[dataset.rows.labels]
    assert {f"{name}.jpg" for name in dataset.rows.ids[named == "merger"]} == set(mergers[:20])
    for row in range(0, 600, 53):
        name = f"{dataset.rows.ids[row]}.jpg"
        assert labels[name].partition("_")[0] == named[row].partition("_")[0]
        with Image.open(folder / "images" / name) as image:
            middle = np.asarray(image.convert("RGB").crop((64, 64, 192, 192)), dtype=float)
        ours = decode(dataset.read(row), dataset.where(row)).astype(float)
        assert np.abs(ours - middle).mean() < 4  # of 255: written as JPEG once more


@pytest.mark.parametrize("content", [b"not a zip", None])
def test_damaged_galaxies_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content) -> None:
    place = tmp_path / "galaxies.zip"
    if content is None:
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("galaxies.csv", "id,label\n1,spiral\n")
    else:
        place.write_bytes(content)
    monkeypatch.setattr("embedkit.datasets.galaxies.ARCHIVE", place)
    with pytest.raises(EmbedkitError, match=r"galaxies\.zip: .*Install embedkit again"):
        load_dataset("galaxies")


# --- simulated -------------------------------------------------------------------------------------------


def test_simulated_is_reproducible_and_differs_by_seed_and_row() -> None:
    one, other = load_dataset("simulated", n=20), load_dataset("simulated", n=20, dataset_seed=1)
    again = pickle.loads(pickle.dumps(one.read))
    for row in (0, 7, 19):
        np.testing.assert_array_equal(one.read(row), again(row))
        assert (one.read(row) != other.read(row)).any()
    assert (one.read(3) != one.read(13)).any()
    assert one.fingerprint != other.fingerprint
    assert one.fingerprint == load_again(one.origin).fingerprint
    assert set(one.rows.ids).isdisjoint(other.rows.ids)
    assert np.bincount(one.rows.labels).tolist() == [2] * 10
    assert one.rows.class_names == KINDS


@pytest.mark.parametrize("size", [16, 64, 101])
def test_simulated_sizes(size: int) -> None:
    dataset = load_dataset("simulated", n=10, size=size)
    for row in range(10):
        assert decode(dataset.read(row), "x").shape == (size, size, 3)


def axis_ratio(pixels: np.ndarray) -> float:
    """Ratio of the second moments of what is brighter than the sky, near the centre."""
    light = np.clip(pixels.mean(axis=2) - 60, 0, None)
    y, x = np.mgrid[: len(light), : len(light)] / len(light) - 0.5
    weight = light / light.sum()
    cx, cy = (weight * x).sum(), (weight * y).sum()
    near = np.hypot(x - cx, y - cy) < 0.4
    weight = weight * near / (weight * near).sum()
    moments = np.cov(np.stack([x.ravel(), y.ravel()]), aweights=weight.ravel())
    small, large = np.sqrt(np.linalg.eigvalsh(moments))
    return float(small / large)


def test_simulated_kinds_have_the_shapes_of_their_names() -> None:
    images = load_dataset("simulated", n=200)
    ratios = np.array([axis_ratio(images.read(row)) for row in range(200)]).reshape(20, 10)
    by_name = dict(zip(KINDS, np.median(ratios, axis=0), strict=True))
    assert by_name["Round Smooth"] > 0.85
    assert 0.5 < by_name["In-between Round Smooth"] < 0.85
    assert by_name["Cigar Shaped Smooth"] < 0.45
    assert by_name["Edge-on without Bulge"] < by_name["Edge-on with Bulge"] < 0.5


def winding(pixels: np.ndarray) -> float:
    """Positive or negative after the sense in which two arms wind outwards."""
    light = pixels.mean(axis=2)
    size = len(light)
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    phases = []
    for radius in np.linspace(0.12, 0.28, 12) * size:
        x = np.clip(size / 2 + radius * np.cos(angles), 0, size - 1).astype(int)
        y = np.clip(size / 2 + radius * np.sin(angles), 0, size - 1).astype(int)
        phases.append(np.angle((light[y, x] * np.exp(2j * angles)).sum()))
    return float(np.diff(np.unwrap(phases)).mean())


def test_simulated_arms_wind_both_ways() -> None:
    images = load_dataset("simulated", n=300)
    loose = KINDS.index("Unbarred Loose Spiral")
    senses = np.array([winding(images.read(row)) for row in range(loose, 300, 10)])
    assert 6 <= (senses > 0).sum() <= 24


def test_simulated_is_drawn_without_warnings_at_many_seeds() -> None:
    for seed in range(30):
        for kind in range(10):
            pixels = draw(kind, size=32, rng=np.random.default_rng([seed, kind]))
            assert pixels.max() > 60  # something is there
            assert np.median(pixels) < 120  # on a dark sky


def test_simulated_outside_its_range() -> None:
    for wrong, message in (
        ({"n": 0}, "--n 0: give an integer of at least 1"),
        ({"size": 8}, "--size 8: give an integer of at least 16 and of at most 1024"),
        ({"size": 5000}, "--size 5000"),
        ({"dataset_seed": -1}, "--dataset-seed -1"),
    ):
        with pytest.raises(UsageError, match=message):
            load_dataset("simulated", **wrong)


def test_every_registered_loader_is_described() -> None:
    for name, source in DATASETS.items():
        assert name == name.lower()
        assert source.summary
        assert source.images
        assert source.labels
        assert source.origin
