"""Calibration as a result and a picture show it."""

import json
from xml.etree import ElementTree

import pytest

from embedkit.cli import main


@pytest.mark.parametrize("split", ["stratified", "kfold:3"])
def test_the_result_holds_the_curve_and_the_temperature_of_validation_rows(
    make_file, tmp_path, capsys, split
):
    command = ["probe", str(make_file()), "--split", split, "-o", str(tmp_path / "runs"), "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    calibration, metrics = document["outcomes"]["calibration"], document["metrics"]
    for name, bins in (("", "bins"), ("_scaled", "bins_scaled")):
        some = [one for one in calibration[bins] if one["n"]]
        assert sum(one["n"] for one in some) == document["n"]
        error = sum(one["n"] * abs(one["accuracy"] - one["confidence"]) for one in some) / document["n"]
        assert metrics[f"expected_calibration_error{name}"]["value"] == pytest.approx(error)
    assert "1 time in 20 over" in metrics["expected_calibration_error"]["note"]
    assert metrics["confidence_right"]["value"] > metrics["confidence_wrong"]["value"]
    if split == "stratified":
        assert calibration["temperature"] > 0
    else:
        assert len(calibration["temperature"]) == 3


def test_the_pictures_show_every_bin_and_every_budget(make_file, tmp_path, capsys):
    path, runs = str(make_file()), str(tmp_path / "runs")
    curve, learning = tmp_path / "curve.svg", tmp_path / "learning.svg"
    command = ["probe", path, "--kind", "nearest-centroid", "-o", runs, "--json"]
    assert main([*command, "--plot", str(curve)]) == 0
    document = json.loads(capsys.readouterr().out)
    shown = ElementTree.parse(curve).getroot()
    dots = [e for e in shown.iter() if e.tag.endswith("circle")]
    bins = document["outcomes"]["calibration"]
    assert len(dots) == sum(one["n"] > 0 for key in ("bins", "bins_scaled") for one in bins[key])
    assert main([*command, "--plot", str(learning), "--budget", "1,20,50%", "--draws", "3"]) == 0
    budgets = json.loads(capsys.readouterr().out)["budgets"]
    titles = [e.text for e in ElementTree.parse(learning).getroot().iter() if e.tag.endswith("title")]
    assert [title.partition(":")[0] for title in titles] == ["1 per class", "20 per class", "50 %"]
    assert f"{budgets[0]['metrics']['accuracy']['value']:.3f}" in titles[0]
    assert main(["probe", path, "--kind", "ridge", "--plot", str(curve)]) == 2
    assert "--plot draws a reliability curve of classes" in capsys.readouterr().err
