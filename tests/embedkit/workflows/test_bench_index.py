"""The page that a bench ends with: its links resolve, and its figures are those of the results."""

import html
import json
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np

import embedkit
from embedkit.cli import main
from embedkit.files.page_of import element, link_to, pages_in
from embedkit.files.results import read_results
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features
from embedkit.pages.template import script_hash


def links(page):
    return [unquote(html.unescape(found)) for found in re.findall(r'href="([^"#][^"]*)"', page.read_text())]


def test_a_bench_ends_with_an_index_of_its_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    rows = Rows(np.array([f"row {i}" for i in range(60)]), labels, ("a", "b"))
    files = []
    for i, name in enumerate(("one #1%.h5", 'other"<b>.h5')):
        x = rng.normal(size=(60, 4)) + (3 - 2 * i) * labels[:, None]
        about = {"dataset": {"name": "rows <script>"}, "features_name": f"set {i} <b>"}
        files.append(write_features(name, x.astype(np.float32), rows, provenance=about))
    words = [
        "--feature-files",
        *map(str, files),
        "--clusterings",
        "none",
        "--probes",
        "linear,knn",
        "-o",
        "out",
    ]
    assert main(["bench", *words]) == 0
    index = Path("out/index.html")
    assert capsys.readouterr().err.rstrip().splitlines()[-1].startswith("out/index.html: ")
    text = index.read_text()
    found = links(index)
    assert all((index.parent / one).is_file() for one in found)
    assert {Path(one).name for one in found} >= {"one #1%.html", "leaderboard.html", "results.jsonl"}
    assert "<script>" not in text.split("<body>")[1].split("<script type")[0]
    # The best of each file, with its interval, as the results have it.
    for features in ("set 0 <b>", "set 1 <b>"):
        of_file = [one for one in read_results("out/results.jsonl") if one.features == features]
        top = max((one.metrics["accuracy"] for one in of_file), key=lambda one: one.value)
        line = next(row for row in text.split("<tr>") if html.escape(features) in row)
        assert f"accuracy {top.value:.3f} [{top.low:.3f}, {top.high:.3f}]" in line
    # Rows of the leaderboard link to the map of their own file.
    data = json.loads(Path("out/leaderboard.html").read_text().split('id="data">')[1].split("</script>")[0])
    maps = {row["cells"][1]: row["maps"] for group in data["groups"] for row in group["rows"]}
    with FeatureFile(files[0]) as file:
        ((name, address),) = maps["set 0 <b>"]
        page = Path("out", unquote(address))
        assert (name, page.name) == ("map", "one #1%.html")
        assert element([file.sha256]) in page.read_text()
    script = text.split("<script>")[1].split("</script>")[0]
    assert f"script-src {script_hash(script)};" in text
    again = embedkit.bench(
        None,
        feature_files=list(map(str, files)),
        clusterings="none",
        probes="linear,knn",
        output="out",
        reports=False,
    )
    assert again.index == index


def test_pages_are_those_that_say_so_and_addresses_are_no_schemes(tmp_path):
    (tmp_path / "javascript:alert(1).html").write_text(f"<head>{element(['ab', 'cd'])}")
    (tmp_path / "other.html").write_text("<head>")
    (tmp_path / "late.html").write_text(" " * 5000 + element(["ab"]))
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "gone.html").symlink_to(tmp_path / "nothing")
    (page,) = pages_in([tmp_path, tmp_path, tmp_path / "none"])
    assert page.digests == ("ab", "cd")
    address = link_to(page.path, beside=tmp_path / "a" / "board.html")
    assert address == "./../javascript%3Aalert%281%29.html"
