"""Maps of an answer of votes: of which answer, on which images, and what stands beside them."""

import csv

import numpy as np
import pytest
import torch
from cam_world import about, untrained

import embedkit
from embedkit.backbones.answers import answers
from embedkit.backbones.head import HeadSpec
from embedkit.backbones.saved_network import SavedNetwork, write_network
from embedkit.cli import main
from embedkit.files.vote_tree import GALAXY_ZOO_2
from reports.cam.maps import Score

FEW = {"device": "cpu", "n_sanity": 10, "per_class": 2}
VOTES = {"votes": True, "n": 30, "size": 48}
NAMES = GALAXY_ZOO_2.target_names
RING = "t08_odd_feature_a19_ring"


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("votes")
    for output in ("sigmoid", "tree"):
        head = HeadSpec(output=output)
        loaded, network = untrained(0, head, n_outputs=37)
        saved = SavedNetwork(network.eval(), about(loaded, head, NAMES, temperature=None))
        write_network(folder / output, saved)
    return folder


@pytest.mark.parametrize("column", [0, 3, 20, 36])
def test_the_score_of_a_tree_is_the_logarithm_of_the_share_of_all(column):
    raw = torch.randn(3, 37, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for one in raw:
        share = answers(one[None], "tree", tree=GALAXY_ZOO_2)[0, column]
        assert Score(column, GALAXY_ZOO_2)(one).item() == pytest.approx(share.log().item(), rel=1e-12)
        assert Score(column)(one) == one[column]


@pytest.mark.parametrize("output", ["sigmoid", "tree"])
def test_a_network_of_votes_is_looked_at_by_answer(models, output, tmp_path):
    found = embedkit.cam(
        models / output, "simulated", target=RING, output=tmp_path / "a.html", **VOTES, **FEW
    )
    predicted = embedkit.predict(models / output, "simulated", None, device="cpu", **VOTES)
    share, true = predicted.outputs[:, NAMES.index("Class8.1")], predicted.true[:, NAMES.index("Class8.1")]
    assert (found.n, found.target, found.n_right, found.median_right) == (30, "Class8.1", None, None)
    assert found.rmse == pytest.approx(np.sqrt(np.mean((share - true) ** 2)), rel=1e-6)
    assert f"Predicts Class8.1 for 30 images, with an RMSE of {found.rmse:.4f} to the votes." == found.facts

    shown = rows_of(found.tables["pictures"])
    most = [row["id"] for row in shown if row["shown_for"] == "predicted most"]
    assert most == predicted.ids[np.argsort(-share, kind="stable")[:2]].tolist()
    much = [row["id"] for row in shown if row["shown_for"] == "predicted too much"]
    assert much == predicted.ids[np.argsort(true - share, kind="stable")[:2]].tolist()
    table = {row["share"]: row for row in rows_of(found.tables["scores"])}
    assert float(table["voted"]["mean"]) == pytest.approx(true.mean(), rel=1e-5)

    examined = rows_of(found.tables["sanity"])
    half = set(predicted.ids[np.argsort(-share, kind="stable")[:15]].tolist())
    assert len(examined) == 10
    assert {row["id"] for row in examined} <= half
    assert {row["explained"] for row in examined} == {"Class8.1"}
    text = found.path.read_text()
    assert "the answer odd feature: ring" in text
    assert "mean predicted share of the answer odd feature: ring" in text
    assert "predicted class" not in text
    assert sorted(found.tables) == ["pictures", "sanity", "scores"]


def test_images_without_votes_are_looked_at_too(models, tmp_path, capsys):
    line = ["cam", str(models / "tree"), "simulated", "--n", "12", "--size", "48", "--target", "Class1.1"]
    out = tmp_path / "a.html"
    assert main([*line, "--n-sanity", "10", "--per-class", "1", "--device", "cpu", "-o", str(out)]) == 0
    assert "Predicts Class1.1 for 12 images." in capsys.readouterr().err
    shown = rows_of(tmp_path / "a-pictures.csv")
    assert [row["shown_for"] for row in shown] == ["predicted most", "predicted least"]
    assert {row["voted"] for row in shown} == {""}
    assert ", voted" not in out.read_text()


def test_a_table_of_predicted_votes_names_the_test_images(models, tmp_path):
    images = {"votes": True, "n": 30, "size": 48}
    table = tmp_path / "p.csv"
    lines = [f"0-{i},{'test' if i % 2 else 'validation'},1,0.5,0.5,0" for i in range(30)]
    header = "id,split,fold,true:Class1.1,predicted:Class1.1,squared_error"
    table.write_text("\n".join([header, *lines]) + "\n")
    found = embedkit.cam(
        models / "tree",
        "simulated",
        target="smooth or features: smooth",
        predictions=table,
        output=tmp_path / "a.html",
        **images,
        **FEW,
    )
    assert found.n == 15
