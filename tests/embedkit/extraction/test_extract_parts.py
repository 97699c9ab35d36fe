import json
from dataclasses import replace

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.extraction import parts as parts_module
from embedkit.extraction.extract import extract
from embedkit.extraction.options import ExtractOptions
from embedkit.files.feature_set import opened_at
from embedkit.files.store import FeatureFile

FP32 = ExtractOptions(precision="fp32", batch_size=4)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(parts_module, "PART_ROWS", 8)
    monkeypatch.setattr(parts_module, "ROWS_A_FILE", 16)


def test_parts_that_are_left_are_the_joined_file(image_folder, tiny, tmp_path):
    folder = str(image_folder(37, classes=3))
    extract(folder, tmp_path / "f.h5", backbone=tiny, options=FP32)
    left = replace(FP32, parts=True)
    done = extract(folder, tmp_path / "set", backbone=tiny, options=left)
    assert (done.n, done.done) == (37, "extracted")
    assert sorted(p.name for p in (tmp_path / "set").iterdir()) == [f"part-00000{i}.h5" for i in range(3)]
    assert not (tmp_path / "set.parts").exists()
    with FeatureFile(tmp_path / "f.h5") as joined, opened_at(tmp_path / "set") as parts:
        np.testing.assert_array_equal(parts.read(), joined.read())
        np.testing.assert_array_equal(parts.rows.ids, joined.rows.ids)
        assert parts.provenance == joined.provenance
        before = parts.sha256
    assert extract(folder, tmp_path / "set", backbone=tiny, options=left).done == "already there"
    again = extract(folder, tmp_path / "set", backbone=tiny, options=replace(left, overwrite=True))
    assert again.done == "extracted"
    with opened_at(tmp_path / "set") as parts:
        assert parts.sha256 == before


def test_a_folder_and_a_file_are_not_put_for_each_other(image_folder, tiny, tmp_path):
    folder = str(image_folder(3))
    left = replace(FP32, parts=True)
    extract(folder, tmp_path / "set", backbone=tiny, options=left)
    with pytest.raises(UsageError, match="is a folder. Name a file, .* give --parts"):
        extract(folder, tmp_path / "set", backbone=tiny, options=FP32)
    (tmp_path / "set" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds other files"):
        extract(folder, tmp_path / "set", backbone=tiny, options=left)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file, and --parts leaves a folder"):
        extract(folder, tmp_path / "file", backbone=tiny, options=left)


def test_every_verb_reads_the_folder(image_folder, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(image_folder(60, classes=3))
    model = ["--backbone", "test_vit", "--random-init", "0", "--image-size", "32", "--resize", "32"]
    for place in (["-o", "set", "--parts"], ["-o", "f.h5"]):
        assert main(["extract", folder, *model, "--precision", "fp32", *place]) == 0
    found = {}
    for features in ("set", "f.h5"):
        capsys.readouterr()
        assert main(["cluster", features, "--prep", "pca5", "--json", "-o", "runs"]) == 0
        found[features] = json.loads(capsys.readouterr().out)
        assert main(["probe", features, "--kind", "knn", "-o", "runs"]) == 0
        assert main(["quality", features, "-o", "runs"]) == 0
        assert main(["verify", features]) == 0
        assert main(["report", features, "--projection", "pca", "-o", f"{features}.html"]) == 0
    a, b = (found[features]["metrics"] for features in ("set", "f.h5"))
    assert a["inertia"] == b["inertia"]
    assert a["accuracy"] == b["accuracy"]
    assert main(["extract", folder, *model, "--precision", "fp32", "-o", "set", "--parts"]) == 0
