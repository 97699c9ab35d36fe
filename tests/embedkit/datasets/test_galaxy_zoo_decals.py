"""Galaxy Zoo DECaLS and Galaxy Zoo 2: votes as their releases have them, and votes that don't sum up."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.datasets.galaxy_zoo_2 import ANSWERS
from embedkit.datasets.galaxy_zoo_decals import TABLES
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.vote_tree import GALAXY_ZOO_2, GALAXY_ZOO_DECALS_5, contradictions, tree_of
from embedkit.images.decode import decode

NAMES = ("J000001.00+000000.0", "J000002.00-010000.0", "J124003.00+020000.0")


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """Three galaxies in the release's layout: all smooth; spirals and all that follows; two early votes."""
    counts = {name: np.zeros(len(GALAXY_ZOO_DECALS_5.target_names), dtype=int) for name in NAMES}
    column = {name: i for i, name in enumerate(GALAXY_ZOO_DECALS_5.target_names)}

    def vote(galaxy: str, **answers: int) -> None:
        for question, votes in answers.items():
            for answer, n in votes.items():
                counts[galaxy][column[f"{question.replace('_', '-')}_{answer}"]] = n

    vote(
        NAMES[0],
        smooth_or_featured={"smooth": 10},
        how_rounded={"round": 4, "in-between": 6},
        merging={"none": 10},
    )
    vote(
        NAMES[1],
        smooth_or_featured={"smooth": 2, "featured-or-disk": 8},
        how_rounded={"round": 2},
        disk_edge_on={"yes": 0, "no": 8},
        has_spiral_arms={"yes": 6, "no": 2},
        bar={"weak": 8},
        bulge_size={"small": 4, "none": 4},
        spiral_winding={"tight": 3, "loose": 3},
        spiral_arm_count={"2": 6},
        merging={"none": 9, "merger": 1},
    )
    vote(
        NAMES[2],
        smooth_or_featured={"artifact": 1, "featured-or-disk": 3},
        disk_edge_on={"no": 3},
        merging={"merger": 1},
    )
    write_table(tmp_path / "gz_decals_volunteers_5.csv", counts, early={NAMES[2]: 4})
    for part, name in zip(("part1", "part2", "part3"), NAMES, strict=True):
        folder = tmp_path / f"gz_decals_dr5_png_{part}" / name[:4]
        folder.mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(folder / f"{name}.png")
    return tmp_path


def write_table(path: Path, counts: dict[str, np.ndarray], early: dict[str, int]) -> None:
    """Write counts, totals and fractions; `early` are totals of merging with answers that are gone."""
    header = ["iauname", "ra", "dec", "upload_group"]
    for branch in GALAXY_ZOO_DECALS_5.branches:
        header.append(f"{branch.question.name}_total-votes")
        for answer in branch.question.answers:
            header += [answer.name, f"{answer.name}_fraction", f"{answer.name}_debiased"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for row, (galaxy, votes) in enumerate(counts.items()):
            cells = [galaxy, 10.5 + row, -2.25, "pre_active"]
            for branch in GALAXY_ZOO_DECALS_5.branches:
                given = votes[list(branch.columns)]
                total = early.get(galaxy, given.sum()) if branch.question.name == "merging" else given.sum()
                cells.append(total)
                for n in given:
                    cells += [n, n / total if total else "", ""]
            writer.writerow(cells)


def test_decals_fractions_are_of_everybody_and_sum_up_the_tree(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = load_dataset("galaxy-zoo-decals", path=str(release))
    rows = dataset.rows
    assert rows.ids.tolist() == list(NAMES)
    assert tree_of(rows.target_names) == GALAXY_ZOO_DECALS_5
    assert rows.coordinates.tolist() == [[10.5, -2.25], [11.5, -2.25], [12.5, -2.25]]
    assert rows.labels is None
    of = {name: rows.targets[:, i] for i, name in enumerate(rows.target_names)}
    assert of["how-rounded_in-between"][0] == pytest.approx(0.6)
    assert of["spiral-winding_tight"][:2].tolist() == pytest.approx([0, 0.8 * 1 * 0.75 * 0.5])
    assert of["bar_weak"][:2].tolist() == pytest.approx([0, 0.8])
    assert of["edge-on-bulge_none"][1] == 0  # nobody said edge-on
    assert np.isnan(of["bar_weak"][2])  # somebody should have been asked, and has no vote
    assert np.isnan(of["merging_merger"][2])
    assert of["merging_merger"][1] == pytest.approx(0.1)
    assert not contradictions(rows.targets, GALAXY_ZOO_DECALS_5).any()
    assert "1 of 3 galaxies have votes on merging for none of the answers" in capsys.readouterr().err
    assert decode(dataset.read(2), dataset.where(2)).shape == (8, 8, 3)
    assert load_dataset(**json.loads(json.dumps(dataset.origin))).fingerprint == dataset.fingerprint


def test_decals_threshold_labels_and_drops(release: Path) -> None:
    dataset = load_dataset("galaxy-zoo-decals", path=str(release), threshold=0.8)
    assert dataset.rows.ids.tolist() == list(NAMES[:2])
    assert [dataset.rows.class_names[label] for label in dataset.rows.labels] == ["smooth", "featured"]
    assert dataset.where(1).endswith(f"{NAMES[1]}.png")
    table = release / "gz_decals_volunteers_5.csv"
    table.write_text("\n".join(line for line in table.read_text().splitlines() if NAMES[0] not in line))
    with pytest.raises(EmbedkitError, match="no image reaches the threshold 1"):
        load_dataset("galaxy-zoo-decals", path=str(release), threshold=1)


def test_decals_unpacked_one_folder_deeper_or_in_part(
    release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = release / "gz_decals_dr5_png_part1"
    part.rename(release / "moved")
    part.mkdir()
    (release / "moved").rename(part / part.name)
    assert len(load_dataset("galaxy-zoo-decals", path=str(release))) == 3
    shutil.rmtree(release / "gz_decals_dr5_png_part2")
    capsys.readouterr()
    dataset = load_dataset("galaxy-zoo-decals", path=str(release))
    assert dataset.rows.ids.tolist() == [NAMES[0], NAMES[2]]
    assert dataset.where(1).endswith(f"{NAMES[2]}.png")
    assert "1 of 3 galaxies have no image in" in capsys.readouterr().err
    for name in ("2", "4"):
        (release / f"gz_decals_dr5_png_part{name}").mkdir()
    with pytest.raises(EmbedkitError, match=rf"1 of 3 galaxies have no image .* {NAMES[1]}.*Unpack"):
        load_dataset("galaxy-zoo-decals", path=str(release))


def test_decals_wrong_use_and_missing_parts(release: Path) -> None:
    with pytest.raises(UsageError, match="needs --path, the folder with the unpacked files of the release"):
        load_dataset("galaxy-zoo-decals")
    with pytest.raises(
        UsageError, match="no subset 'test'. Give --subset volunteers-5 or volunteers-1-and-2"
    ):
        load_dataset("galaxy-zoo-decals", path=str(release), subset="test")
    with pytest.raises(UsageError, match="no subset 'predicted'. Give --subset training or test"):
        load_dataset("galaxy-zoo-2", path=str(release), subset="predicted")
    with pytest.raises(UsageError, match=r"galaxy-zoo-decals: threshold 0\.4 is outside 0\.5 to 1"):
        load_dataset("galaxy-zoo-decals", path=str(release), threshold=0.4)
    with pytest.raises(
        EmbedkitError, match=r"gz_decals_auto_posteriors\.csv: no such file. Put the release's"
    ):
        load_dataset("galaxy-zoo-decals", path=str(release), subset="predicted")
    table = release / "gz_decals_volunteers_5.csv"
    text = table.read_text()
    table.write_text(text.replace("bar_weak_fraction", "bar_feeble_fraction"))
    with pytest.raises(EmbedkitError, match=r"1 of its columns are missing, such as 'bar_weak_fraction'"):
        load_dataset("galaxy-zoo-decals", path=str(release))
    table.write_text(text.splitlines()[0])
    with pytest.raises(EmbedkitError, match="no rows below the header"):
        load_dataset("galaxy-zoo-decals", path=str(release))
    table.write_text(text + ",surplus\n")
    with pytest.raises(EmbedkitError, match=r"line 5: 2 cells, but the header has"):
        load_dataset("galaxy-zoo-decals", path=str(release))
    table.write_text(text)
    for part in ("1", "2", "3"):
        shutil.rmtree(release / f"gz_decals_dr5_png_part{part}")
    with pytest.raises(EmbedkitError, match="no images in gz_decals_dr5_png_part1 to 4 there. Unpack"):
        load_dataset("galaxy-zoo-decals", path=str(release))


@pytest.mark.parametrize(
    ("fraction", "message"),
    [
        (
            "0.9",
            r"J000002\.00-010000\.0': the answers to has-spiral-arms .* sum to 1\.15, but have to sum to 1",
        ),
        (
            "1.75",
            r"J000002\.00-010000\.0': has-spiral-arms_yes .* is 1\.75, but a share of votes lies in 0 to 1",
        ),
        ("many", r"line 3: 'many' in column 'has-spiral-arms_yes_fraction' is no number"),
    ],
)
def test_decals_fractions_that_are_none_are_refused(release: Path, fraction: str, message: str) -> None:
    table = release / "gz_decals_volunteers_5.csv"
    with table.open() as file:
        rows = list(csv.reader(file))
    rows[2][rows[0].index("has-spiral-arms_yes_fraction")] = fraction
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    with pytest.raises(EmbedkitError, match=message):
        load_dataset("galaxy-zoo-decals", path=str(release))


@pytest.mark.parametrize("subset", TABLES)
def test_decals_on_real_files(shared: Path, subset: str) -> None:
    dataset = load_dataset("galaxy-zoo-decals", path=str(shared / "data" / "gz_decals_sample"), subset=subset)
    assert len(dataset) == 6
    tree = TABLES[subset].tree
    assert dataset.rows.target_names == tree.target_names
    assert not contradictions(dataset.rows.targets, tree).any()
    assert np.isfinite(dataset.rows.coordinates).all()
    assert decode(dataset.read(5), "x").shape == (424, 424, 3)
    with (shared / "data" / "gz_decals_sample" / TABLES[subset].file).open() as file:
        rows = list(csv.DictReader(file))
    assert dataset.rows.ids.tolist() == [row["iauname"] for row in rows]
    for branch in tree.branches:  # how many were asked each question, by the release's own account
        asked = [
            float(row[f"{branch.question.name}_proportion_volunteers_asked"])
            if subset == "predicted"
            else float(row[f"{branch.question.name}_total-votes"])
            / float(row["smooth-or-featured_total-votes"])
            for row in rows
        ]
        found = dataset.rows.targets[:, list(branch.columns)].sum(axis=1)
        if branch.question.name == "merging" and subset != "predicted":
            assert np.isnan(found).sum() == (2 if subset == "volunteers-5" else 0)
        else:
            there = np.isfinite(found)
            np.testing.assert_allclose(found[there], np.array(asked)[there], atol=1e-5)
            assert (np.array(asked)[~there] == 0).all()


# --- Galaxy Zoo 2, and tables of one's own ---------------------------------------------------------------


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """Two real rows of the challenge's table, with images of nothing."""
    rows = {
        "100008": "0.383147,0.616853,0,0,0.616853,0.038452149,0.578400851,0.418397819,0.198455181,0,"
        "0.104752126,0.512100874,0,0.054453,0.945547,0.201462524,0.181684476,0,0,0.0272265,0,0.0272265,0,0,0,0,"
        "0,0,0.279952491,0.138445328,0,0,0.092885571,0,0,0,0.325512248",
        "100053": "0.765717,0.177352,0.056931,0,0.177352,0,0.177352,0,0.177352,0,0.11778975,0.05956225,0,0,1,"
        "0,0.74186415,0.02385285,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
    }
    (tmp_path / "images_training_rev1").mkdir()
    for name in rows:
        Image.new("RGB", (8, 8)).save(tmp_path / "images_training_rev1" / f"{name}.jpg")
    lines = [",".join(["GalaxyID", *ANSWERS]), *(f"{name},{votes}" for name, votes in rows.items())]
    (tmp_path / "training_solutions_rev1.csv").write_text("\n".join(lines))
    return tmp_path


def test_galaxy_zoo_2_reads_descriptive_names(challenge: Path) -> None:
    official = load_dataset("galaxy-zoo-2", path=str(challenge))
    table = challenge / "training_solutions_rev1.csv"
    table.write_text(
        table.read_text().replace(",".join(ANSWERS), ",".join(answer.name for answer in GALAXY_ZOO_2.answers))
    )
    described = load_dataset("galaxy-zoo-2", path=str(challenge))
    assert described.fingerprint == official.fingerprint
    assert described.rows.target_names == GALAXY_ZOO_2.target_names


def test_galaxy_zoo_2_votes_that_do_not_sum_up_are_refused(challenge: Path) -> None:
    table = challenge / "training_solutions_rev1.csv"
    text = table.read_text()
    table.write_text(text.replace("0.765717", "0.965717"))
    with pytest.raises(
        EmbedkitError,
        match=r"_rev1\.csv: '100053': the answers to t01_smooth_or_features .* sum to 1\.2, but have",
    ):
        load_dataset("galaxy-zoo-2", path=str(challenge))
    table.write_text(text.replace("0.74186415", "-0.74186415"))
    with pytest.raises(EmbedkitError, match=r"'100053': Class7\.2 .* is -0\.741864, but a share"):
        load_dataset("galaxy-zoo-2", path=str(challenge))


def test_votes_in_arrays_are_held_to_their_tree_too(tmp_path: Path) -> None:
    shares = np.zeros((2, 37), dtype=np.float32)
    shares[:, [0, 14, 15]] = 1
    arrays = {"images": np.zeros((2, 8, 8, 3), np.uint8), "target_names": np.array(list(ANSWERS))}
    np.savez(tmp_path / "good.npz", targets=shares, **arrays)
    assert load_dataset(str(tmp_path / "good.npz")).rows.targets.shape == (2, 37)
    shares[1, 16] = 0.5
    np.savez(tmp_path / "bad.npz", targets=shares, **arrays)
    with pytest.raises(
        EmbedkitError, match=r"bad\.npz.*the answers to t07_rounded .* sum to 1\.5, but Class1\.1"
    ):
        load_dataset(str(tmp_path / "bad.npz"))


def test_a_table_of_votes_of_ones_own_is_held_to_its_tree(challenge: Path) -> None:
    table = challenge / "training_solutions_rev1.csv"
    lines = table.read_text().splitlines()
    mine = challenge / "mine.csv"
    rows = [lines[0].replace("GalaxyID", "file")]
    rows += [f"images_training_rev1/{line.replace(',', '.jpg,', 1)}" for line in lines[1:]]
    mine.write_text("\n".join(rows))
    dataset = load_dataset(str(mine), target_columns=tuple(ANSWERS))
    assert tree_of(dataset.rows.target_names) == GALAXY_ZOO_2
    mine.write_text("\n".join(rows).replace("0.616853,0,0,", "0.616853,0,0.5,"))
    with pytest.raises(
        EmbedkitError, match=r"mine\.csv: '.*100008\.jpg': the answers to t02_edgeon .*Class1\.2"
    ):
        load_dataset(str(mine), target_columns=tuple(ANSWERS))
    assert len(load_dataset(str(mine), target_columns=("Class1.1", "Class1.2"))) == 2
