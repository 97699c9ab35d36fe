"""The question trees: names, parents, and shares that sum up."""

import csv
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.vote_tree import (
    GALAXY_ZOO_2,
    GALAXY_ZOO_DECALS_1_AND_2,
    GALAXY_ZOO_DECALS_5,
    TREES,
    check_votes,
    contradictions,
    cumulative,
    gaps,
    tree_of,
)

# The challenge's own page: question, how many answers, and the column whose share its answers sum to.
KAGGLE = {
    1: (3, None),
    2: (2, "Class1.2"),
    3: (2, "Class2.2"),
    4: (2, "Class2.2"),
    5: (4, "Class2.2"),
    6: (2, None),
    7: (3, "Class1.1"),
    8: (7, "Class6.1"),
    9: (3, "Class2.1"),
    10: (3, "Class4.1"),
    11: (6, "Class4.1"),
}

# Two rows as the challenge publishes them.
HEADER = "GalaxyID," + ",".join(f"Class{q}.{a}" for q, (n, _) in KAGGLE.items() for a in range(1, n + 1))
ROWS = (
    "100008,0.383147,0.616853,0,0,0.616853,0.038452149,0.578400851,0.418397819,0.198455181,0,0.104752126,"
    "0.512100874,0,0.054453,0.945547,0.201462524,0.181684476,0,0,0.0272265,0,0.0272265,0,0,0,0,0,0,0.279952491,"
    "0.138445328,0,0,0.092885571,0,0,0,0.325512248",
    "100053,0.765717,0.177352,0.056931,0,0.177352,0,0.177352,0,0.177352,0,0.11778975,0.05956225,0,0,1,0,"
    "0.74186415,0.02385285,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0",
)


@pytest.fixture
def shares() -> np.ndarray:
    return np.array([[float(cell) for cell in row.split(",")[1:]] for row in ROWS])


def drawn(tree, n: int, seed: int = 0) -> np.ndarray:
    """Cumulative shares by a loop over rows and questions."""
    rng = np.random.default_rng(seed)
    found = np.zeros((n, len(tree.answers)))
    for row in range(n):
        for branch in tree.branches:
            share = 1.0 if branch.parent is None else found[row, branch.parent]
            for column, part in zip(branch.columns, rng.dirichlet(np.ones(len(branch.columns))), strict=True):
                found[row, column] = share * part
    return found


def test_galaxy_zoo_2_is_the_tree_of_the_challenge() -> None:
    assert GALAXY_ZOO_2.target_names == tuple(HEADER.split(",")[1:])
    assert len(GALAXY_ZOO_2.answers) == 37
    for branch, (n, parent) in zip(GALAXY_ZOO_2.branches, KAGGLE.values(), strict=True):
        assert len(branch.columns) == n
        assert (None if branch.parent is None else GALAXY_ZOO_2.target_names[branch.parent]) == parent
    names = {answer.column: answer.name for answer in GALAXY_ZOO_2.answers}
    assert names["Class1.3"] == "t01_smooth_or_features_a03_star_or_artifact"
    assert names["Class8.7"] == "t08_odd_feature_a38_dust_lane"
    assert names["Class11.6"] == "t11_arms_number_a37_cant_tell"


def test_real_rows_of_the_challenge_sum_up_their_tree(shares: np.ndarray) -> None:
    assert np.abs(gaps(shares, GALAXY_ZOO_2)).max() < 1e-6
    assert not contradictions(shares, GALAXY_ZOO_2).any()
    check_votes(shares, GALAXY_ZOO_2, ["100008", "100053"], "votes.csv")


@pytest.mark.parametrize("tree", TREES.values(), ids=lambda tree: tree.name)
def test_every_tree_is_whole(tree) -> None:
    columns = [column for branch in tree.branches for column in branch.columns]
    assert sorted(columns) == list(range(len(tree.target_names)))
    seen: set[int] = set()
    for branch in tree.branches:  # parents stand before their children
        assert branch.parent is None or branch.parent in seen
        seen |= set(branch.columns)
    assert len({answer.name for answer in tree.answers}) == len(tree.answers)
    assert len({tree.title(column) for column in columns}) == len(columns)
    found = drawn(tree, 50)
    assert not contradictions(found, tree).any()
    assert not contradictions(found.astype(np.float32), tree).any()


def test_titles_are_words() -> None:
    assert GALAXY_ZOO_2.title(0) == "smooth or features: smooth"
    assert GALAXY_ZOO_2.title(36) == "arms number: can't tell"
    assert GALAXY_ZOO_DECALS_5.title(3) == "disk edge on: yes"
    assert GALAXY_ZOO_2.question_of(36).text == "How many spiral arms are there?"


def test_a_tree_is_known_by_either_name_in_any_order(shares: np.ndarray) -> None:
    assert tree_of(GALAXY_ZOO_2.target_names) == GALAXY_ZOO_2
    order = np.random.default_rng(1).permutation(37)
    mixed = [
        GALAXY_ZOO_2.answers[i].name if i % 2 else GALAXY_ZOO_2.answers[i].column for i in order.tolist()
    ]
    tree = tree_of(mixed)
    assert tree is not None
    assert tree.target_names == tuple(mixed)
    assert [answer.column for answer in tree.answers] == [GALAXY_ZOO_2.target_names[i] for i in order]
    np.testing.assert_allclose(gaps(shares[:, order], tree), gaps(shares, GALAXY_ZOO_2), atol=1e-15)
    for decals in (GALAXY_ZOO_DECALS_5, GALAXY_ZOO_DECALS_1_AND_2):
        assert tree_of(decals.target_names) == decals


@pytest.mark.parametrize(
    "names",
    [(), ("redshift", "pxscale"), GALAXY_ZOO_2.target_names[:-1], (*GALAXY_ZOO_2.target_names, "redshift")],
)
def test_other_targets_are_no_tree(names: tuple[str, ...]) -> None:
    assert tree_of(names) is None


def test_an_answer_under_both_of_its_names_is_no_tree() -> None:
    names = list(GALAXY_ZOO_2.target_names)
    names[1] = GALAXY_ZOO_2.answers[0].name
    assert tree_of(names) is None


def test_cumulative_undoes_a_division_by_the_parent() -> None:
    truth = drawn(GALAXY_ZOO_2, 20)
    truth[0] = 0
    truth[0, [0, 14, 15]] = 1  # everybody says smooth, so of discs nobody is asked
    within = truth.copy()
    for branch in GALAXY_ZOO_2.branches:
        if branch.parent is not None:
            with np.errstate(invalid="ignore"):
                within[:, list(branch.columns)] /= truth[:, [branch.parent]]
    assert np.isnan(within[0]).any()
    np.testing.assert_allclose(cumulative(within, GALAXY_ZOO_2), truth, rtol=1e-12)


def test_contradictions_counts_rows(shares: np.ndarray) -> None:
    wrong = np.concatenate([shares, shares])
    wrong[2, 15] += 0.01
    wrong[3, :3] = np.nan  # missing, so nothing is contradicted
    assert contradictions(wrong, GALAXY_ZOO_2).tolist() == [False, False, True, False]
    assert not contradictions(wrong, GALAXY_ZOO_2, tolerance=0.02).any()


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        (
            0,
            1.2,
            r"votes\.csv: '100053': Class1\.1 \(t01_smooth_or_features_a01_smooth\) is 1\.2, but .* 0 to 1",
        ),
        (36, -0.5, r"'100053': Class11\.6 .* is -0\.5"),
        (
            0,
            0.5,
            r"'100053': the answers to t01_smooth_or_features .* sum to 0\.7343, but have to sum to 1",
        ),
        (16, 0.5, r"t07_rounded .* sum to 0\.5239, but Class1\.1, after which it is asked, has 0\.765717"),
        (14, 0.9, r"t06_odd .* sum to 0\.9.*Correct the row"),
    ],
)
def test_bad_votes_name_row_question_sum_and_fix(
    shares: np.ndarray, column: int, value: float, message: str
) -> None:
    shares[1, column] = value
    with pytest.raises(EmbedkitError, match=message):
        check_votes(shares, GALAXY_ZOO_2, ["100008", "100053"], "votes.csv")


def test_shares_among_those_asked_are_told_apart() -> None:
    within = drawn(GALAXY_ZOO_2, 3)
    within[:, 15:18] /= within[:, [0]]
    with pytest.raises(
        EmbedkitError, match=r"sum to 1, .* \(3 such rows\).* multiplied by the parent's share"
    ):
        check_votes(within, GALAXY_ZOO_2, ["a", "b", "c"], "votes.csv")


def test_a_question_that_nobody_answered_is_let_pass(shares: np.ndarray) -> None:
    shares[0, 15:18] = 0
    shares[1, 15:18] = np.nan
    check_votes(shares, GALAXY_ZOO_2, ["100008", "100053"], "votes.csv")
    assert contradictions(shares, GALAXY_ZOO_2).tolist() == [True, False]


def test_decals_columns_are_those_of_the_release(shared: Path) -> None:
    for name, tree in (("5", GALAXY_ZOO_DECALS_5), ("1_and_2", GALAXY_ZOO_DECALS_1_AND_2)):
        path = shared / "data" / "gz_decals_sample" / f"gz_decals_volunteers_{name}.csv"
        with path.open() as file:
            header = next(csv.reader(file))
        shares = {column.removesuffix("_fraction") for column in header if column.endswith("_fraction")}
        assert shares == set(tree.target_names)
