"""The page and its command: its numbers, what is refused, and how it looks in a real browser."""

import csv
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from browsing import looked_at
from cam_world import NAMES, about, planted, untrained
from PIL import Image

import embedkit
from embedkit import EmbedkitError, UsageError
from embedkit.backbones.head import HeadSpec
from embedkit.backbones.saved_network import SavedNetwork, write_network
from embedkit.cli import main
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.images.decode import decode
from reports.cam import maps
from reports.map.beside import find_beside

FEW = {"device": "cpu", "n_sanity": 12, "per_class": 2}


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(squares, out):
    return embedkit.cam(squares.model, squares.images, output=out / "cam.html", **FEW)


@pytest.fixture(scope="module")
def said(squares):
    return embedkit.predict(squares.model, squares.images, None, device="cpu")


def test_the_confidences_are_those_of_predict(page, said):
    p, right = said.outputs.max(axis=1), said.predicted == said.true
    assert (page.n, page.n_right) == (60, int(right.sum()))
    assert page.median_right == pytest.approx(np.median(p[right]), abs=1e-6)
    assert page.median_wrong == pytest.approx(np.median(p[~right]), abs=1e-6)
    table = {row["predictions"]: row for row in rows_of(page.tables["confidence"])}
    assert int(table["wrong"]["n"]) == int((~right).sum())
    assert float(table["right"]["quartile_1"]) == pytest.approx(np.quantile(p[right], 0.25), rel=1e-5)
    text = page.path.read_text()
    assert f"median of right ones {np.median(p[right]):.2f}" in text
    assert f"{page.n_right} of 60 images" in page.facts


def test_the_pictures_are_the_most_confident_of_each_class(page, said, squares):
    shown = rows_of(page.tables["pictures"])
    p, right = said.outputs.max(axis=1), said.predicted == said.true
    for name in NAMES:
        for word, those in (("right", right), ("wrong", ~right)):
            ours = [row["id"] for row in shown if (row["true"], row["prediction"]) == (name, word)]
            places = np.flatnonzero((said.true == name) & those)
            assert ours == said.ids[places[np.argsort(-p[places], kind="stable")][:2]].tolist()
    assert {row["id"] for row in shown if row["prediction"] == "wrong"} <= set(squares.wrong)
    text = page.path.read_text()
    for row in shown:
        assert row["id"] in text
        assert f"{float(row['probability']):.3f}" in text
    assert text.count("<img") == 2 * len(shown)
    assert re.findall(r'<section id="([^"]*)"', text) == ["confidence", "sanity", "pictures"]


def test_the_examination_is_in_a_table_and_its_verdict_on_the_page(page):
    table = rows_of(page.tables["sanity"])
    assert len(table) == 12
    for name, value in page.deletion_area.items():
        assert np.mean([float(row[f"deletion_area:{name}"]) for row in table]) == pytest.approx(
            value, rel=1e-4
        )
    gain, low, high = page.gain_over_random
    own, moved = page.deletion_area["own"], page.deletion_area["random"]
    assert gain == pytest.approx(moved - own, abs=1e-6)
    assert low <= gain <= high
    assert np.mean([float(row["turned:own"]) for row in table]) == pytest.approx(page.turned, rel=1e-4)
    text = page.path.read_text()
    assert page.follows is True
    assert page.sentence.replace("'", "&#x27;") in text
    assert f"{own:.3f}" in text
    assert page.layer == "stages.3"


def test_the_same_call_makes_the_same_page(page, squares, out):
    before = page.path.read_bytes()
    embedkit.cam(squares.model, squares.images, output=out / "cam.html", **FEW)
    assert page.path.read_bytes() == before


def test_a_vit_has_its_attention_beside_the_map(squares, tmp_path, capsys):
    loaded, network = untrained(0, backbone="test_vit")
    write_network(tmp_path / "vit", SavedNetwork(network.eval(), about(loaded)))
    line = ["cam", str(tmp_path / "vit"), str(squares.images), "-o", str(tmp_path / "v.html"), "--json"]
    assert main([*line, "--n-sanity", "10", "--limit", "20", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["layer"]) == (20, "blocks.5.norm1")
    text = (tmp_path / "v.html").read_text()
    assert text.count('alt="attention of ') == text.count('alt="Grad-CAM of ') > 0
    assert "then the attention of the last block" in text


def test_the_maps_are_a_picture_too_which_a_report_shows(page, squares, out, monkeypatch):
    shown = rows_of(page.tables["pictures"])
    (found,) = find_beside(out, {squares_of(squares)}, pytest.fail).mapped
    assert found.path == page.picture == out / "cam-maps.png"
    assert [one.id for one, _ in found.images] == [row["id"] for row in shown]
    assert [one.group for one, _ in found.images] == [f"{row['true']}, {row['prediction']}" for row in shown]
    with Image.open(page.picture) as drawn:
        assert drawn.size == (2 * 160, 160 * len(shown))
        first = np.asarray(drawn)[:160, :160]
    original = decode((squares.images / shown[0]["id"]).read_bytes(), "")
    assert np.abs(shown_at_its_size(original).astype(float) - first).mean() < 1
    assert found.record.says.startswith("The image as the network sees it, then Grad-CAM of the predicted")
    assert found.record.verdict == page.sentence
    embedkit.extract(squares.images, output=out / "f.h5", backbone="pixels:8")
    report = embedkit.report(out / "f.h5", output=out / "r.html", runs=out, projection="pca").path.read_text()
    looks = report.split('<section id="looks">')[1].split("</section>")[0]
    assert looks.count("<figure data-row=") == len(shown)
    assert looks.count("<img ") == 2 * len(shown)
    assert '<a href="./cam.html">Grad-CAM: cam.html</a> </li>' in looks
    n_groups = len({(row["true"], row["prediction"]) for row in shown})
    assert looks.partition("<details><summary>")[0].count("<figure") == n_groups
    assert f"<summary>{len(shown) - n_groups} more</summary>" in looks
    assert looks.count(page.sentence.replace("'", "&#x27;")) == 1
    for row in shown:
        assert f"<span>{row['true']} → {row['predicted']} {float(row['probability']):.3f}</span>" in looks


def squares_of(squares):
    return open_dataset(squares.images, DatasetOptions()).fingerprint


def shown_at_its_size(pixels):
    return np.asarray(Image.fromarray(pixels).resize((160, 160), Image.Resampling.BICUBIC))


def test_the_maps_of_one_class_are_shown_on_images_of_every_class(squares, page, tmp_path):
    found = embedkit.cam(squares.model, squares.images, target="orange", output=tmp_path / "o.html", **FEW)
    assert (found.target, found.n_right, page.target) == ("orange", page.n_right, None)
    text = found.path.read_text()
    assert "Grad-CAM of the class orange over" in text
    assert "Grad-CAM of the predicted class over" in page.path.read_text()
    assert {row["explained"] for row in rows_of(found.tables["sanity"])} == {"orange"}
    shown, others = (rows_of(one.tables["pictures"]) for one in (found, page))
    assert shown == others


def test_it_says_when_these_are_the_images_of_the_training(squares, tmp_path):
    images = open_dataset(squares.images, DatasetOptions())
    trained = {"fingerprint": images.fingerprint}
    run = tmp_path / "run"
    run.mkdir()
    write_network(run / "model", replace(squares.saved, about=replace(squares.saved.about, trained=trained)))
    found = embedkit.cam(run / "model", squares.images, output=tmp_path / "a.html", **FEW)
    assert found.notes == (
        "It was trained on images of this very dataset: it is surer and more often right here than on new "
        "images.",
    )
    assert "trained on images of this very dataset" in found.path.read_text()
    ids = images.rows.ids.tolist()
    table = run / "predictions-planted.csv"
    lines = [
        f"{one},{part},1,cyan,cyan,0.9"
        for one, part in zip(ids[:20], ["test", "validation"] * 10, strict=True)
    ]
    table.write_text("\n".join(["id,split,fold,true,predicted,probability", *lines]) + "\n")
    found = embedkit.cam(run / "model", squares.images, output=tmp_path / "a.html", **FEW)
    assert f"Give --predictions {table} for its test images alone" in found.notes[0]
    found = embedkit.cam(run / "model", squares.images, predictions=table, output=tmp_path / "a.html", **FEW)
    assert (found.notes, found.n) == ((), 10)
    assert {row["id"] for row in rows_of(found.tables["sanity"])} == set(ids[:20:2])


def test_images_without_a_class_that_it_knows_are_left_out_and_said(squares, tmp_path):
    for name in (*NAMES, "green <b>"):
        (tmp_path / "images" / name).mkdir(parents=True)
    for i, one in enumerate(planted(14, 3)[0]):
        Image.fromarray(one).save(tmp_path / "images" / (*NAMES, "green <b>")[i % 3] / f"{i}.png")
    found = embedkit.cam(squares.model, tmp_path / "images", output=tmp_path / "a.html", **FEW)
    assert found.n == 10
    assert found.notes == ("Left out images of classes that the network doesn't know: green <b>.",)
    assert "green &lt;b&gt;" in found.path.read_text()


def refused(error, message, *args, **given):
    with pytest.raises(error, match=message):
        embedkit.cam(*args, **{**FEW, **given})


def test_what_can_not_be_mapped_is_refused_by_name(squares, tmp_path, monkeypatch):
    out = {"output": tmp_path / "a.html"}
    head = HeadSpec(output="sigmoid")
    loaded, network = untrained(0, head, n_outputs=3)
    votes = about(loaded, head, ("smooth", "disc", "star"), temperature=None)
    write_network(tmp_path / "votes", SavedNetwork(network.eval(), votes))
    message = "planted predicts 3 answers, and a map speaks of one. Give --target NAME, one of smooth, disc"
    refused(UsageError, message, tmp_path / "votes", squares.images, **out)
    message = "--target smoth: none of the answers of .*Did you mean 'smooth'"
    refused(UsageError, message, tmp_path / "votes", squares.images, target="smoth", **out)
    message = "--target red: none of the classes of .* It knows cyan, orange"
    refused(UsageError, message, squares.model, squares.images, target="red", **out)
    message = r"no model.json there. Give .*model\."
    refused(EmbedkitError, message, squares.model.parent, squares.images, **out)
    bare = tmp_path / "bare"
    bare.mkdir()
    Image.fromarray(planted(1, 0)[0][0]).save(bare / "a.png")
    refused(EmbedkitError, "no labels, so right and wrong are not known", squares.model, bare, **out)
    for name in ("cat", "dog"):
        (tmp_path / "other" / name).mkdir(parents=True)
        Image.fromarray(planted(1, 0)[0][0]).save(tmp_path / "other" / name / f"{name}.png")
    message = "no image of the classes that planted knows: cyan, orange"
    refused(EmbedkitError, message, squares.model, tmp_path / "other", **out)
    table = tmp_path / "p.csv"
    table.write_text("id,split,fold,true,predicted,probability\nx,test,1,cyan,cyan,0.9\n")
    message = "none of its 1 test images is in .*images. Give the table"
    refused(EmbedkitError, message, squares.model, squares.images, predictions=table, **out)
    refused(UsageError, "--n-sanity 3", squares.model, squares.images, n_sanity=3, **out)
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    refused(EmbedkitError, r"Install embedkit-images\[cam\]", squares.model, squares.images, **out)
    assert not (tmp_path / "a.html").exists()


def test_an_unreadable_image_ends_it_or_is_skipped(squares, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(squares.images, folder)
    (folder / "cyan" / "00.png").write_bytes(b"no image")
    refused(EmbedkitError, "00.png", squares.model, folder, output=tmp_path / "a.html")
    found = embedkit.cam(squares.model, folder, on_error="skip", output=tmp_path / "a.html", **FEW)
    assert found.notes == ("Left out 1 image that could not be read.",)


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_and_nothing_is_asked_for(page, width, scheme):
    with looked_at(page.path, width=width, scheme=scheme) as view:
        view.evaluate("document.querySelectorAll('img').forEach((one) => { one.loading = 'eager'; })")
        view.wait_for_function("[...document.images].every((one) => one.complete && one.naturalWidth > 0)")
