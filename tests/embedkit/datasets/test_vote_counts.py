"""How many people answered each question, by the tables that say so."""

import csv

import numpy as np
import pytest
from PIL import Image

from embedkit.datasets.csv_file import load_csv
from embedkit.datasets.galaxy_zoo_2 import load_galaxy_zoo_2
from embedkit.datasets.galaxy_zoo_decals import load_galaxy_zoo_decals
from embedkit.datasets.simulated import load_simulated
from embedkit.datasets.simulated_votes import simulated_votes
from embedkit.errors import EmbedkitError
from embedkit.files.vote_tree import GALAXY_ZOO_2, GALAXY_ZOO_DECALS_1_AND_2, GALAXY_ZOO_DECALS_5

NAMES = [answer.name for answer in GALAXY_ZOO_2.answers]


@pytest.mark.parametrize(
    ("subset", "file", "tree"),
    [
        ("volunteers-5", "gz_decals_volunteers_5.csv", GALAXY_ZOO_DECALS_5),
        ("volunteers-1-and-2", "gz_decals_volunteers_1_and_2.csv", GALAXY_ZOO_DECALS_1_AND_2),
    ],
)
def test_the_release_counts_who_was_asked_each_question(shared, subset, file, tree):
    folder = shared / "data" / "gz_decals_sample"
    rows = load_galaxy_zoo_decals(path=str(folder), subset=subset).rows
    with (folder / file).open(newline="") as stream:
        table = {row["iauname"]: row for row in csv.DictReader(stream)}
    for i, name in enumerate(rows.ids):
        for branch in tree.branches:
            columns = list(branch.columns)
            asked = float(table[str(name)][f"{branch.question.name}_total-votes"])
            assert rows.asked[i, columns].tolist() == [asked] * len(columns)
    assert load_galaxy_zoo_decals(path=str(folder), subset="predicted").rows.asked is None


def table_of(path, columns, n):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return n


def galaxy_zoo_2(folder, more):
    """Write votes of simulated volunteers under Willett's names, with other columns beside them."""
    votes = simulated_votes(4, 0)
    (folder / "images_training_rev1").mkdir()
    for i in range(4):
        Image.new("RGB", (8, 8)).save(folder / "images_training_rev1" / f"{i}.jpg")
    columns = {"GalaxyID": range(4), **dict(zip(NAMES, votes.shares.T, strict=True)), **more(votes)}
    table_of(folder / "training_solutions_rev1.csv", columns, 4)
    return votes


def counts(votes):
    given = np.rint(votes.shares * votes.volunteers[:, None]).astype(int)
    return {f"{name}_count": column for name, column in zip(NAMES, given.T, strict=True)}


@pytest.mark.parametrize("more", [counts, lambda votes: {"total_classifications": votes.volunteers}])
def test_tables_of_galaxy_zoo_2_with_counts(tmp_path, more):
    votes = galaxy_zoo_2(tmp_path, more)
    rows = load_galaxy_zoo_2(path=str(tmp_path)).rows
    np.testing.assert_allclose(rows.asked, votes.asked, atol=1e-9)
    np.testing.assert_allclose(rows.take([2, 0]).asked, votes.asked[[2, 0]], atol=1e-9)


def test_a_table_of_ones_own_has_them_too(tmp_path, capsys):
    votes = galaxy_zoo_2(tmp_path, counts)
    table = tmp_path / "mine.csv"
    columns = {"file": [f"images_training_rev1/{i}.jpg" for i in range(4)]}
    columns |= dict(zip(NAMES, votes.shares.T, strict=True))
    table_of(table, columns | counts(votes), 4)
    np.testing.assert_allclose(load_csv(str(table), target_columns=NAMES).rows.asked, votes.asked)
    assert "columns not used" not in capsys.readouterr().err
    assert load_csv(str(table), target_columns=NAMES[:3]).rows.asked is None
    wrong = counts(votes)
    wrong[f"{NAMES[3]}_count"][1] = -2
    table_of(table, columns | wrong, 4)
    with pytest.raises(EmbedkitError, match=r"line 3: t02_edgeon_a04_yes_count is -2.*Correct it"):
        load_csv(str(table), target_columns=NAMES)


def test_a_table_without_counts_says_nothing(tmp_path):
    galaxy_zoo_2(tmp_path, lambda votes: {})
    assert load_galaxy_zoo_2(path=str(tmp_path)).rows.asked is None


def test_simulated_volunteers_are_counted():
    rows, votes = load_simulated(n=20, size=16, votes=True).rows, simulated_votes(20, 0)
    given = np.rint(votes.shares * votes.volunteers[:, None])
    for branch in GALAXY_ZOO_2.branches:
        columns = list(branch.columns)
        assert rows.asked[:, columns[0]].tolist() == given[:, columns].sum(axis=1).tolist()
    assert load_simulated(n=20, size=16).rows.asked is None
