"""A folder of a trained network that was written by somebody else."""

import json

import pytest

from embedkit.backbones import saved_network
from embedkit.backbones.head import HeadSpec
from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.saved_network import About, SavedNetwork, read_network, write_network
from embedkit.errors import EmbedkitError
from embedkit.images.options import Overrides


def kept(folder, name="test_vit", widths=(), dropout=0.0):
    spec = BackboneSpec(name, random_init=0, preprocessing=Overrides(image_size=32, resize=32))
    backbone, head = load_backbone(spec), HeadSpec(widths=widths, dropout=dropout, batch_norm=bool(widths))
    network = build_network(backbone, 2, head, seed=0)
    about = About("r", "d", name, head, ("a", "b"), (0.5, 0.5), backbone.preprocessing, None)
    write_network(folder, SavedNetwork(network, about))
    return network


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "embedkit_votes_cnn"])
@pytest.mark.parametrize("widths", [(), (5,), (7, 3)])
def test_what_was_written_is_read_back(name, widths, tmp_path):
    network = kept(tmp_path / "model", name, widths, dropout=0.5)
    again = read_network(tmp_path / "model").network.state_dict()
    assert all(value.equal(again[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("backbone", "hf-hub:nobody/nothing", "only the hub knows"),
        ("backbone", "hf_hub:nobody/nothing", "only the hub knows"),
        ("backbone", "local-dir:/etc", "no config.json"),
        ("backbone", "resnet18", "in resnet18"),
        ("backbone", "vit_giant_patch14_dinov2", "vit_giant_patch14_dinov2"),
        ("backbone", "eva02_enormous_patch14_clip_224", "eva02_enormous_patch14_clip_224"),
        ("backbone", "pixels:32", "pixels:32"),
        ("backbone", "x" * 10_000, "unknown backbone"),
        ("head.widths", [65536] * 3, "head.0"),
        ("head.widths", [10**9], "widths 1000000000"),
        ("names", [str(i) for i in range(10**5)], "names and 2 baselines"),
        ("names", ["a\0", "b"], "a name that is no text"),
        ("names", ["a", "\ud800"], "damaged"),
        ("preprocessing.image_size", 64, "pos_embed"),
        ("preprocessing.image_size", 100_000, "more than 4096 pixels"),
        ("preprocessing.resize", 100_000, "more than 4096 pixels"),
        ("baseline", [1e400, 0], "damaged"),
        ("baseline", [-0.5, 1.5], "no share between 0 and 1"),
        ("temperature", 1e-9, "a temperature of 1e-09"),
        ("temperature", 1e9, "a temperature of 1000000000"),
    ],
)
def test_what_its_json_asks_for_is_held_against_its_weights_before_it_is_built(
    place, value, said, tmp_path, monkeypatch
):
    def build(*_, **__):
        raise AssertionError("a network was built")

    kept(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    record = json.loads(path.read_text())
    table, _, key = place.rpartition(".")
    (record[table] if table else record)[key] = value
    path.write_text(json.dumps(record))
    monkeypatch.setattr(saved_network, "load_backbone", build)
    with pytest.raises(EmbedkitError, match=said):
        read_network(tmp_path / "model")
