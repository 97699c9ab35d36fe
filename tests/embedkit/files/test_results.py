import json
import multiprocessing
import resource
import sys
from dataclasses import replace

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.results import SCHEMA, Metric, Result, append_result, read_results, result_provenance
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

RESULT = Result(
    task="cluster",
    dataset="galaxies Ω",
    features="vit cls",
    method="kmeans",
    params={"k": 4, "pca": 0.95},
    outcomes={"sizes": [1, 2]},
    split="none",
    seed=0,
    metrics={"accuracy": Metric(0.457, 0.44, 0.47), "roc_auc": Metric(None, note="one class")},
    n=2370,
    seconds=1.5,
    backend="faiss-cpu",
    provenance={"time": "2026-01-01T00:00:00+00:00"},
)


def test_a_line_comes_back_as_it_was():
    assert Result.from_json(RESULT.to_json()) == RESULT
    assert "\n" not in RESULT.to_json()


def test_nan_and_infinity_become_null_and_json_is_strict():
    odd = replace(
        RESULT,
        metrics={"silhouette": Metric(float("nan"), float("-inf"), np.float32("inf"))},
        params={
            "deep": [{"x": (np.nan, 1)}],
            "n": np.int64(3),
            "grid": np.array([0.5, np.nan]),
            "on": np.True_,
        },
    )

    def refuse(constant):
        raise AssertionError(constant)

    record = json.loads(odd.to_json(), parse_constant=refuse)
    assert record["metrics"]["silhouette"] == {"value": None, "low": None, "high": None, "note": None}
    assert record["params"] == {"deep": [{"x": [None, 1]}], "n": 3, "grid": [0.5, None], "on": True}


def test_what_is_no_json_value_is_refused_instead_of_guessed():
    with pytest.raises(TypeError, match="not JSON serializable"):
        replace(RESULT, params={"model": object()}).to_json()


@pytest.mark.parametrize(
    "line", ["", "{", "[1, 2]", "3", "null", "{}", '{"metrics": {}}', '{"metrics": [1]}']
)
def test_other_lines_are_no_results(line):
    with pytest.raises((ValueError, TypeError, KeyError, AttributeError)):
        Result.from_json(line)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 0},
        {"schema": "2"},
        {"schema": True},
        {"task": 3},
        {"params": []},
        {"outcomes": None},
        {"provenance": "x"},
        {"seed": 0.5},
        {"seed": True},
        {"n": "9"},
        {"seconds": None},
        {"task": " "},
        {"metrics": {"accuracy": {"value": "0.9"}}},
        {"metrics": {"accuracy": {"value": 10**400}}},
        {"metrics": {"accuracy": {"value": float("nan")}}},
        {"metrics": {"accuracy": {"value": 0.9, "low": [0.8]}}},
        {"metrics": {"accuracy": {"value": 0.9, "at": 1}}},
        {"more": 1},
    ],
    ids=repr,
)
def test_a_field_of_another_type_is_no_result(change, tmp_path):
    line = json.dumps(json.loads(RESULT.to_json()) | change)
    (tmp_path / "results.jsonl").write_text(line + "\n")
    with pytest.raises(EmbedkitError, match=r"results\.jsonl:1: not a result"):
        read_results(tmp_path)


def test_each_line_says_its_schema_and_a_later_one_is_refused_by_name(tmp_path):
    record = json.loads(RESULT.to_json())
    assert record["schema"] == SCHEMA == 2
    path = tmp_path / "results.jsonl"
    path.write_text(f"{RESULT.to_json()}\n" + json.dumps({"schema": 3, "unheard": "of"}) + "\n")
    with pytest.raises(
        EmbedkitError, match=r"jsonl:2: a newer embedkit wrote this .*schema 3.*up to 2.*Install"
    ):
        read_results(path)


def old(**params):
    """A line as schema 1 wrote it: settings and outcomes together, no schema."""
    record = json.loads(RESULT.to_json()) | {"params": params}
    del record["schema"], record["outcomes"]
    return Result.from_json(json.dumps(record))


def test_a_clustering_of_the_first_schema_is_told_apart():
    found = {
        "confusion": [[1]],
        "matching": {"0": "a"},
        "cluster_sizes": [3],
        "class_names": ["a"],
        "seeds": 3,
    }
    found |= {"stability": {"similarity": [1.0]}, "diagnosis": [], "preparation": {}, "left_out": {}}
    one = old(k=4, n_init=10, prep="pca95", **found)
    assert one.params == {"k": 4, "n_init": 10, "prep": "pca95"}
    assert one.outcomes == found
    chosen = old(k=5, k_choice={"k": 5, "ks": [4, 5]})
    assert chosen.params == {"k": "auto"}
    assert chosen.outcomes == {"k": 5, "k_choice": {"k": 5, "ks": [4, 5]}}
    sizes = {"rule": "highest validity", "min_samples_grid": [1, 5]}
    dense = old(min_cluster_size=7, min_samples=5, target_noise=None, choice=sizes)
    assert dense.params == {"min_cluster_size": "auto", "target_noise": None}
    assert dense.outcomes == {"min_cluster_size": 7, "min_samples": 5, "choice": sizes}
    given = old(min_cluster_size=7, min_samples=5, choice={"rule": "x", "min_samples_grid": [5]})
    assert given.params == {"min_cluster_size": "auto", "min_samples": 5}


def test_a_probe_of_the_first_schema_is_told_apart():
    choice = {"by": "validation accuracy", "of": ["c"], "grid": [0.1, 1], "scores": [{"0.1": 0.5}]}
    division = {"asked": "auto", "folds": [{"name": "file", "train": 9}]}
    one = old(c=0.1, refit=False, choice=choice, division=division, calibration={}, confusion=[[1]])
    assert one.params == {"refit": False, "choice": {"by": "validation accuracy", "grid": [0.1, 1]}}
    assert one.outcomes == {
        "c": 0.1,
        "choice": {"of": ["c"], "scores": [{"0.1": 0.5}]},
        "division": [{"name": "file", "train": 9}],
        "calibration": {},
        "confusion": [[1]],
    }
    given = old(c=0.1, choice=choice | {"grid": [0.1]}, division=division | {"asked": "kept.json"})
    assert given.params["c"] == 0.1
    assert given.params["split_file"] == "kept.json"
    budget = {"asked": "5 per class", "n_labels": 15, "n_draws": 4}
    few = old(budget=budget, draws=[{"n_labels": 15}], choice={"by": "accuracy"})
    assert few.params == {"budget": "5 per class", "n_draws": 4, "choice": {"by": "accuracy"}}
    assert few.outcomes == {"n_labels": 15, "draws": [{"n_labels": 15}]}


def test_metrics_are_rows_of_a_data_frame():
    frame = RESULT.to_pandas()
    assert list(frame["metric"]) == ["accuracy", "roc_auc"]
    assert frame.loc[0, ["value", "low", "high"]].tolist() == [0.457, 0.44, 0.47]
    assert frame.loc[1, "note"] == "one class"
    assert (frame["method"] == "kmeans").all()
    assert {"dataset", "task", "features", "split", "seed", "n"} <= set(frame)


def test_without_pandas_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(
        EmbedkitError, match=r"needs pandas, which is not installed: pip install 'embedkit-images\[pandas\]'"
    ):
        RESULT.to_pandas()


def test_a_notebook_shows_text_and_never_markup():
    odd = replace(
        RESULT,
        dataset="<script>alert(1)</script>",
        method="a&b",
        metrics={"<b>": Metric(0.5, 0.4, 0.6, '"<img src=x onerror=y>')},
    )
    assert "metric  value  95 % interval  note\n<b>     0.5" in str(odd)
    shown = odd._repr_html_()
    assert "<script" not in shown
    assert "<img" not in shown
    assert "<b>" not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in shown
    assert "a&amp;b" in shown
    assert "0.4 to 0.6" in shown


def test_lines_are_appended_in_order_and_folders_are_made(tmp_path):
    path = tmp_path / "runs" / "deep" / "results.jsonl"
    for seed in range(3):
        append_result(path, replace(RESULT, seed=seed))
    assert [result.seed for result in read_results(path)] == [0, 1, 2]
    assert path.read_bytes().count(b"\n") == 3


def test_a_folder_is_read_in_the_order_of_path_and_line(tmp_path):
    for name, seeds in {"b": (3,), "a/x": (1, 2), "a": (0,)}.items():
        for seed in seeds:
            append_result(tmp_path / name / "results.jsonl", replace(RESULT, seed=seed))
    (tmp_path / "a" / "other.jsonl").write_text("not a result\n")
    assert [result.seed for result in read_results(tmp_path)] == [0, 1, 2, 3]


def test_blank_lines_are_passed_over(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text(f"\n{RESULT.to_json()}\n\n  \r\n{RESULT.to_json()}\r\n")
    assert len(read_results(path)) == 2


@pytest.mark.parametrize("name", ["", "nowhere", "results.jsonl"])
def test_nothing_there_says_what_makes_results(name, tmp_path):
    with pytest.raises(EmbedkitError, match=r"no results.jsonl there. Run `embedkit cluster`"):
        read_results(tmp_path / name)


@pytest.mark.parametrize(
    "bad",
    [b'{"task": "clu', b"hello", b"\xff\xfe\x00", b'{"task": "x", "metrics": {}}', b"[]", b"[" * 100_000],
    ids=lambda bad: repr(bad[:20]),
)
def test_a_bad_line_is_named_with_file_and_line(bad, tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, RESULT)
    with path.open("ab") as stream:
        stream.write(bad + b"\n")
    append_result(path, RESULT)
    with pytest.raises(EmbedkitError, match=r"results\.jsonl:2: not a result .*Remove the line"):
        read_results(tmp_path)


def test_a_torn_last_line_costs_that_line_alone(tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, RESULT)
    append_result(path, RESULT)
    path.write_bytes(path.read_bytes()[:-30])
    append_result(path, replace(RESULT, seed=7))
    with pytest.raises(EmbedkitError, match=r"results\.jsonl:2: not a result"):
        read_results(path)
    lines = path.read_bytes().splitlines()
    assert Result.from_json(lines[0]) == RESULT
    assert Result.from_json(lines[2]).seed == 7


def _append_many(path, seed):
    for i in range(40):
        append_result(path, replace(RESULT, seed=seed, n=i, params={"long": "x" * (500 * seed)}))


def test_parallel_appends_never_interleave(tmp_path):
    path = tmp_path / "results.jsonl"
    context = multiprocessing.get_context("forkserver")
    children = [context.Process(target=_append_many, args=(path, seed)) for seed in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    results = read_results(path)
    for seed in range(4):
        assert [result.n for result in results if result.seed == seed] == list(range(40))


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_leaves_the_file_as_it_was(room, tmp_path):
    path = tmp_path / "results.jsonl"
    append_result(path, RESULT)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, hard))
    try:
        with pytest.raises(OSError, match=r"results\.jsonl"):
            append_result(path, RESULT)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before


def test_provenance_names_the_file_and_its_bytes(tmp_path):
    path = write_features(tmp_path / "f.h5", np.eye(3), Rows(["a", "b", "c"]), provenance={"made": "by hand"})
    with FeatureFile(path) as file:
        record = result_provenance(file)
    assert record["features_file"] == str(path)
    assert len(record["features_sha256"]) == 64
    assert record["features"] == {"made": "by hand"}
    assert {"python", "numpy", "torch"} <= set(record["versions"])
    assert record["time"].endswith("+00:00")
