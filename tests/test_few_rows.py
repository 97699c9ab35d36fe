"""Files of few rows, and of rows that nothing can be computed on, through every verb that reads features."""

import re
import shutil

import h5py
import numpy as np
import pytest

from clustering.methods import METHODS
from embedkit.cli import main
from embedkit.files.rows import Rows
from embedkit.files.store import write_features
from probes.kinds.registry import PROBES

# What scikit-learn, NumPy and Python say, and embedkit doesn't.
FOREIGN = re.compile(r"Traceback|Warning|sklearn|\bn_samples|sample\(s\)|Found array|Error[:(]|object at")
QUICK = [[], ["-k", "auto"], ["-k", "2"], ["-k", "3"]]
TEMI = ["--epochs", "1"]


def commands(*, umap):
    """Every call of a verb that reads a feature file, which is A, or two of them."""
    calls = []
    for method in METHODS:
        if umap or "umap" not in method:
            density = "hdbscan" in method
            more = [[], ["--min-cluster-size", "2"], ["--min-cluster-size", "auto"]] if density else QUICK
            calls += [["cluster", "A", "--method", method, *m, *(TEMI * (method == "temi"))] for m in more]
    calls += [["cluster", "A", "-k", "2", *more] for more in (["--explain"], ["--prep", "pca95"])]
    calls += [
        ["probe", "A", "--kind", kind, *more] for kind in PROBES for more in ([], ["--split", "kfold:2"])
    ]
    calls += [["probe", "A", "--budget", "1", "2"], ["probe", "A", "--kind", "knn", "--dedupe", "drop"]]
    calls += [["quality", "A"], ["leaks", "A"], ["compare", "A", "B"], ["leaderboard", "runs"]]
    if umap:
        calls += [["cluster", "A", "--method", "all"], ["quality", "A", "--umap"], ["report", "A"]]
    return calls


def write(folder, n, *, labelled=True):
    rng = np.random.default_rng(n)
    classes = np.arange(n) % 2
    x = rng.normal(size=(n, 8)) + 3 * classes[:, np.newaxis]
    known = {
        "labels": classes,
        "class_names": ("a", "b"),
        "targets": np.column_stack([0.2 + 0.5 * classes, rng.random(n)]),
        "target_names": ("t0", "t1"),
    }
    rows = Rows(ids=[f"row {i}" for i in range(n)], **(known if labelled else {}))
    for name in "AB":
        write_features(folder / name, (x + (name == "B") * rng.normal(size=x.shape)).astype(np.float32), rows)


def sweep(capsys, calls):
    for words in calls:
        code = main(words)
        out, err = capsys.readouterr()
        assert code in (0, 1, 2), words
        assert (code == 0) == ("error:" not in err), words
        assert not FOREIGN.search(out + err), (words, err)


@pytest.mark.parametrize("n", [1, 4])
def test_few_rows_are_worked_on_or_refused_in_words(tmp_path, monkeypatch, capsys, n):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, n)
    short = [words for words in commands(umap=False) if not {"2", "3", "kfold:2"} & set(words)]
    sweep(capsys, short)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "labelled", "umap"), [(2, False, False), (5, True, True), (20, True, False)])
def test_few_rows_through_every_method(tmp_path, monkeypatch, capsys, n, labelled, umap):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, n, labelled=labelled)
    sweep(capsys, commands(umap=umap))


@pytest.mark.parametrize("n", [2, 4])
def test_umap_says_how_many_rows_it_needs(tmp_path, monkeypatch, capsys, n):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, n)
    for method in ("umap+kmeans", "umap+hdbscan"):
        assert main(["cluster", "A", "--method", method]) == 1
        assert f"A: {n} rows are too few for UMAP, which needs 5. Take a" in capsys.readouterr().err


@pytest.mark.parametrize("number", [-np.inf, 3e38])
def test_rows_that_nothing_can_be_computed_on_are_named_by_every_verb(tmp_path, monkeypatch, capsys, number):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, 30)
    with h5py.File("A", "r+") as file:
        file["features"][7, 3] = number
    shutil.copy("A", "B")
    for words in (
        *(["cluster", "A", "--method", method] for method in METHODS),
        *(["probe", "A", "--kind", kind] for kind in PROBES),
        *(["probe", "A", "--dedupe", "drop"], ["probe", "A", "--budget", "3"]),
        *(["quality", "A"], ["leaks", "A"], ["report", "A"], ["compare", "A", "B"]),
        *(["label", "A"], ["outliers", "A"], ["similar", "A", "--id", "row 1"]),
        *(["report", "A", "--prep", "pca95"], ["cluster", "A", "--method", "all"]),
    ):
        assert main(words) == 1, words
        err = capsys.readouterr().err
        assert "error: A: " in err, words
        assert re.search(r" rows hold .*, the first of them 'row 7'\. Extract again", err), (words, err)
