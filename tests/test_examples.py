"""The examples run as they stand, and what the notebook shows is its own output."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "examples" / "first_look.ipynb"


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_is_kept_with_its_output_small_and_without_this_machine():
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 200_000
    cells = code_cells(json.loads(text))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert any("image/jpeg" in output.get("data", {}) for output in outputs)
    for output in outputs:
        assert output["output_type"] != "error"
        assert output.get("name") != "stderr"  # says which processor it was
        shown = "".join(output.get("text", ())) + "".join(output.get("data", {}).get("text/plain", ()))
        assert not re.search(r"/(?:home|root|tmp|work|Users)\b", shown), shown


@pytest.mark.slow
def test_the_notebook_runs(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    kept = json.loads(json.dumps(notebook))
    nbclient.NotebookClient(notebook, timeout=600, kernel_name="python3").execute()
    for before, after in zip(code_cells(kept), code_cells(notebook), strict=True):
        assert said(after) == pytest.approx(said(before), abs=0.05)


def said(cell):
    """The numbers that a cell printed; those of another processor may differ a little."""
    text = "".join("".join(one.get("text", ())) for one in cell["outputs"] if one.get("name") == "stdout")
    return [float(number) for number in re.findall(r"\d+\.\d+", text)]


@pytest.mark.slow
def test_the_script_compares_backbones_on_a_folder_of_images(tmp_path, monkeypatch, capsys):
    random = np.random.default_rng(0)
    for kind, brightness in (("bright", 160), ("dark", 40)):
        (tmp_path / "images" / kind).mkdir(parents=True)
        for i in range(15):
            pixels = random.normal(brightness, 20, (16, 16, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / kind / f"{i}.png")
    place = ROOT / "examples" / "compare_backbones.py"
    specification = importlib.util.spec_from_file_location("compare_backbones", place)
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    monkeypatch.chdir(tmp_path)
    script.main(["images", "pixels:2", "pixels:4", "-o", "out"])
    assert (tmp_path / "out" / "leaderboard.html").exists()
    assert len((tmp_path / "out" / "results" / "results.jsonl").read_text().splitlines()) == 6
    assert "pixels:4" in capsys.readouterr().out
