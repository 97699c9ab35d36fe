"""Galaxy Zoo 2 as its authors publish it: shares of everybody, images by another table, counts."""

import csv
import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2, contradictions

NAME = "galaxy-zoo-2-hart16"
GALAXIES = ("587722981736120347", "587722981741363294", "587722981742084144")
# The release's example: this galaxy is 16.jpg.
ASSETS = {GALAXIES[0]: "1", GALAXIES[1]: "3", GALAXIES[2]: "16"}
COUNTS = {
    GALAXIES[0]: {
        "t01": {"a01_smooth": 25, "a02_features_or_disk": 15},
        "t02": {"a04_yes": 0, "a05_no": 15},
        "t03": {"a06_bar": 3, "a07_no_bar": 12},
        "t04": {"a08_spiral": 9, "a09_no_spiral": 6},
        "t05": {"a11_just_noticeable": 10, "a12_obvious": 5},
        "t06": {"a14_yes": 0, "a15_no": 40},
        "t07": {"a16_completely_round": 20, "a17_in_between": 5},
        "t10": {"a28_tight": 6, "a29_medium": 3},
        "t11": {"a32_2": 9},
    },
    GALAXIES[1]: {
        "t01": {"a01_smooth": 40, "a03_star_or_artifact": 2},
        "t06": {"a14_yes": 4, "a15_no": 36},
        "t07": {"a18_cigar_shaped": 40},
        "t08": {"a24_merger": 3, "a38_dust_lane": 1},
    },
    # Nobody who saw a disk went on.
    GALAXIES[2]: {"t01": {"a02_features_or_disk": 39, "a03_star_or_artifact": 1}, "t06": {"a15_no": 39}},
}
KINDS = ("count", "weight", "fraction", "weighted_fraction", "debiased", "flag")


def cells_of(galaxy: str) -> dict[str, str]:
    """Fractions to three decimals; the artifact's votes weigh half; debiased ones are off by a tenth."""
    cells = {"dr7objid": galaxy, "ra": "10.5", "dec": "-2.25", "rastring": "00:42:00.00"}
    cells |= {"decstring": "-02:15:00.0", "sample": "original", "gz2_class": "Er"}
    cells |= {"total_classifications": "44", "total_votes": "100"}
    for branch in GALAXY_ZOO_2.branches:
        names = [answer.name for answer in branch.question.answers]
        given = COUNTS[galaxy].get(branch.question.name[:3], {})
        counts = [given.get(name.removeprefix(f"{branch.question.name}_"), 0) for name in names]
        weights = [n * (0.5 if "artifact" in name else 1) for n, name in zip(counts, names, strict=True)]
        for name, n, weight in zip(names, counts, weights, strict=True):
            plain = n / sum(counts) if sum(counts) else 0
            weighted = weight / sum(weights) if sum(weights) else 0
            values = (n, weight, f"{plain:.3f}", f"{weighted:.3f}", f"{0.9 * weighted:.3f}", 0)
            cells |= {f"{name}_{kind}": str(value) for kind, value in zip(KINDS, values, strict=True)}
    return cells


def write(path: Path, rows: list[dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    write(tmp_path / "gz2_hart16.csv", [cells_of(one) for one in GALAXIES])
    mapping = [{"objid": one, "sample": "original", "asset_id": ASSETS[one]} for one in GALAXIES]
    mapping.append({"objid": GALAXIES[1], "sample": "stripe82_coadd_1", "asset_id": "7"})
    write(tmp_path / "gz2_filename_mapping.csv", mapping)
    folder = tmp_path / "images_gz2" / "images"
    folder.mkdir(parents=True)
    for number in ("1", "3", "16"):
        Image.new("RGB", (8, 8), (int(number), 0, 0)).save(folder / f"{number}.jpg")
    return tmp_path


def changed(release: Path, galaxy: int, **cells: str) -> None:
    rows = [cells_of(one) for one in GALAXIES]
    rows[galaxy].update(cells)
    write(release / "gz2_hart16.csv", rows)


def test_fractions_are_of_everybody_and_sum_up_the_tree(release: Path) -> None:
    dataset = load_dataset(NAME, path=str(release))
    rows = dataset.rows
    assert rows.ids.tolist() == list(GALAXIES)
    assert rows.target_names == GALAXY_ZOO_2.target_names  # as galaxy-zoo-2 has them
    assert [dataset.where(i).rpartition("/")[2] for i in range(3)] == ["1.jpg", "3.jpg", "16.jpg"]
    assert rows.coordinates.tolist() == [[10.5, -2.25]] * 3
    assert not contradictions(rows.targets, GALAXY_ZOO_2).any()
    of = {answer.name: rows.targets[:, i] for i, answer in enumerate(GALAXY_ZOO_2.answers)}
    # By hand, from the counts: 15 of 40 saw a disk, none from the side, 9 of 15 arms, 6 of 9 tight ones.
    assert of["t04_spiral_a08_spiral"][0] == pytest.approx(15 / 40 * 9 / 15, abs=1e-3)
    assert of["t10_arms_winding_a28_tight"][0] == pytest.approx(6 / 40, abs=1e-3)
    assert of["t09_bulge_shape_a25_rounded"][0] == 0  # nobody was asked
    assert of["t08_odd_feature_a24_merger"][1] == pytest.approx(0.1 * 0.75, abs=1e-3)
    # Somebody was asked, and nobody answered.
    assert np.isnan([of["t02_edgeon_a04_yes"][2], of["t11_arms_number_a32_2"][2]]).all()
    again = load_dataset(**dataset.origin)
    assert again.fingerprint == dataset.fingerprint


def test_people_are_counted_question_by_question(release: Path) -> None:
    asked = load_dataset(NAME, path=str(release)).rows.asked
    of = {answer.name: asked[:, i].tolist() for i, answer in enumerate(GALAXY_ZOO_2.answers)}
    assert of["t01_smooth_or_features_a03_star_or_artifact"] == [40, 42, 40]
    assert of["t10_arms_winding_a28_tight"] == [9, 0, 0]
    assert of["t08_odd_feature_a19_ring"] == [0, 4, 0]


def test_which_fractions_is_an_option(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = {
        kind: load_dataset(NAME, path=str(release), vote_fractions=kind).rows.targets[1, 2]
        for kind in ("weighted", "plain")
    }
    assert shares == pytest.approx({"weighted": 1 / 41, "plain": 2 / 42}, abs=1e-3)
    assert "debiased" not in capsys.readouterr().err
    debiased = load_dataset(NAME, path=str(release), vote_fractions="debiased")
    said = capsys.readouterr().err
    assert (
        "debiased fractions of 3 of 3 galaxies don't sum to 1 within a question (the farthest is off" in said
    )
    assert debiased.name == f"{NAME}-debiased"
    # All are off by one factor here, so what they are divided by brings the weighted ones back.
    weighted = load_dataset(NAME, path=str(release)).rows.targets
    np.testing.assert_allclose(debiased.rows.targets, weighted, atol=2e-3)
    assert not contradictions(debiased.rows.targets, GALAXY_ZOO_2).any()


def test_threshold_packed_table_and_a_folder_deeper(release: Path) -> None:
    dataset = load_dataset(NAME, path=str(release), threshold=0.9)
    assert dataset.rows.ids.tolist() == list(GALAXIES[1:])
    assert [dataset.rows.class_names[label] for label in dataset.rows.labels] == ["smooth", "featured"]
    assert dataset.where(1).endswith("16.jpg")
    plain = load_dataset(NAME, path=str(release))
    table = release / "gz2_hart16.csv"
    (release / "gz2_hart16.csv.gz").write_bytes(gzip.compress(table.read_bytes()))
    table.unlink()
    images = release / "images_gz2"
    (images / "images").rename(release / "images")
    images.rmdir()
    assert load_dataset(NAME, path=str(release)).fingerprint == plain.fingerprint
    packed = release / "gz2_hart16.csv.gz"
    packed.write_bytes(packed.read_bytes()[:-40])
    with pytest.raises(EmbedkitError, match=r"hart16\.csv\.gz, line \d+: .*Download the table again"):
        load_dataset(NAME, path=str(release))


def test_galaxies_without_an_image(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = release / "images_gz2" / "images"
    (images / "16.jpg").rename(images / "99.jpg")
    dataset = load_dataset(NAME, path=str(release))
    assert dataset.rows.ids.tolist() == list(GALAXIES[:2])
    said = capsys.readouterr().err
    assert "1 of 3 galaxies have no image: the files of 1 are not in" in said
    assert "such as 16.jpg. They are left out" in said
    assert "1 images are of galaxies that the table does not have: left out" in said
    mapping = release / "gz2_filename_mapping.csv"
    text = mapping.read_text()
    mapping.write_text(text.replace(GALAXIES[0], "5"))
    with pytest.raises(
        EmbedkitError,
        match=r"2 of 3 galaxies have no image: 1 are not in gz2_filename_mapping\.csv, such as "
        rf"{GALAXIES[0]}; "
        r"the files of 1 .*16\.jpg\. Download gz2_filename_mapping\.csv again and unpack images_gz2\.zip",
    ):
        load_dataset(NAME, path=str(release))
    mapping.write_text(text.replace(",16\n", ",3\n").replace(",16\r\n", ",3\r\n"))
    with pytest.raises(EmbedkitError, match=rf"3\.jpg is the image of {GALAXIES[1]} and of {GALAXIES[2]}"):
        load_dataset(NAME, path=str(release))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            {"t01_smooth_or_features_a01_smooth_weighted_fraction": "1.625"},
            r"gz2_hart16\.csv: '587722981736120347': Class1\.1 .* is 1\.625, but a share of votes lies",
        ),
        (
            {"t04_spiral_a08_spiral_weighted_fraction": "0.9"},
            r"'587722981736120347': the answers to t04_spiral .* sum to 1\.3, but have to sum to 1",
        ),
        ({"t03_bar_a06_bar_count": "-3"}, r"line 2: t03_bar_a06_bar_count is -3, and nobody is counted"),
        ({"t03_bar_a06_bar_weighted_fraction": "some"}, r"line 2: 'some' in column 't03_bar_a06_bar_w"),
    ],
)
def test_what_is_no_vote_is_refused(release: Path, cells: dict[str, str], message: str) -> None:
    changed(release, 0, **cells)
    with pytest.raises(EmbedkitError, match=message):
        load_dataset(NAME, path=str(release))


def test_ids_that_a_spreadsheet_rounded_are_refused(release: Path) -> None:
    write(
        release / "gz2_hart16.csv", [cells_of(one) | {"dr7objid": f"{float(one):.11e}"} for one in GALAXIES]
    )
    with pytest.raises(EmbedkitError, match=r"hart16\.csv: ids such as '5\.877\d*e\+17' have been floating"):
        load_dataset(NAME, path=str(release))


def test_missing_parts_and_wrong_calls(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match=r"needs --path, the folder with gz2_hart16\.csv"):
        load_dataset(NAME)
    with pytest.raises(UsageError, match=r"--vote-fractions raw: unknown. Give one of weighted, plain, debi"):
        load_dataset(NAME, path=str(release), vote_fractions="raw")
    with pytest.raises(UsageError, match="--vote-fractions does not apply to galaxy-zoo-2"):
        load_dataset("galaxy-zoo-2", path=str(release), vote_fractions="plain")
    with pytest.raises(
        EmbedkitError, match=r"no training_solutions_rev1\.csv there|galaxy-zoo-2-hart16 reads"
    ):
        load_dataset("galaxy-zoo-2", path=str(release))
    rows = [cells_of(one) for one in GALAXIES]
    for row in rows:
        del row["t11_arms_number_a36_more_than_4_weighted_fraction"]
    write(release / "gz2_hart16.csv", rows)
    with pytest.raises(EmbedkitError, match=r"1 of its columns are missing, such as 't11_arms_number_a36_mo"):
        load_dataset(NAME, path=str(release))
    changed(release, 0)
    (release / "gz2_filename_mapping.csv").unlink()
    assert main(["datasets", NAME, "--path", str(release)]) == 1
    assert "gz2_filename_mapping.csv: no such file. Put the release's" in capsys.readouterr().err
    shutil.rmtree(release / "images_gz2")
    with pytest.raises(EmbedkitError, match=r"no folder images_gz2/images there. Unpack images_gz2\.zip"):
        load_dataset(NAME, path=str(release))
    (release / "gz2_hart16.csv").rename(release / "training_solutions_rev1.csv")
    with pytest.raises(
        EmbedkitError, match=r"no gz2_hart16\.csv there.*the Kaggle challenge's files: galaxy-"
    ):
        load_dataset(NAME, path=str(release))
