import json
import multiprocessing
import resource
from dataclasses import replace

import numpy as np
import pytest

from embedkit.errors import EmbedkitError
from embedkit.files.results import Metric, Result, append_result, read_results, result_provenance
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

RESULT = Result(
    task="cluster",
    dataset="galaxies Ω",
    features="vit cls",
    method="kmeans",
    params={"k": 4, "pca": 0.95, "sizes": [1, 2]},
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
    "bad", [b'{"task": "clu', b"hello", b"\xff\xfe\x00", b'{"task": "x", "metrics": {}}', b"[]"], ids=repr
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
