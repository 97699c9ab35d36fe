"""Grad-CAM against the formula, and on images of which one region alone decides the class."""

from dataclasses import replace

import numpy as np
import pytest
import timm
import torch
from cam_world import about, inside, planted, untrained
from torch import nn

from embedkit.backbones.network import Network
from embedkit.backbones.saved_network import SavedNetwork, with_random_weights
from embedkit.errors import EmbedkitError
from embedkit.images.preprocess import Preprocessing
from reports.cam import maps
from reports.cam.layer import target_layer
from reports.cam.maps import attention, grad_cam, probabilities
from reports.cam.sanity import OWN, UNTRAINED, examine
from reports.cam.verdict import verdict

PLAIN = Preprocessing(image_size=6, resize=6, mean=(0.5,) * 3, std=(0.5,) * 3)


class OneLayer(nn.Module):
    """A convolution, perhaps what changes it in its place, and the mean over places."""

    feature_info = ({"module": "conv", "num_chs": 4, "reduction": 1},)

    def __init__(self, after):
        super().__init__()
        self.conv, self.after = nn.Conv2d(3, 4, 1), after

    def forward(self, x):
        return self.after(self.conv(x)).mean(dim=(2, 3))


@pytest.mark.parametrize("rectified", [False, True])
def test_the_map_is_the_formula_of_selvaraju(rectified):
    torch.manual_seed(3)
    network = Network(OneLayer(nn.ReLU(inplace=True) if rectified else nn.Identity()), nn.Linear(4, 3))
    network.eval().requires_grad_(False)
    pixels = np.random.default_rng(0).integers(0, 255, (5, 6, 6, 3), dtype=np.uint8)
    classes = np.array([0, 1, 2, 1, 0])
    layer = target_layer(network, "one", 6, 3)
    assert layer.name == "conv"
    found = grad_cam(network, layer, pixels, classes, preprocessing=PLAIN, batch_size=2)

    x = pixels.astype(np.float64) / 127.5 - 1
    weight = network.backbone.conv.weight.numpy()[:, :, 0, 0]
    a = x @ weight.T + network.backbone.conv.bias.numpy()  # (n, h, w, 4)
    slope = (a > 0) if rectified else np.ones_like(a)
    alpha = network.head.weight.numpy()[classes] * slope.mean(axis=(1, 2)) / 36
    expected = np.maximum((alpha[:, None, None] * a).sum(axis=3), 0)
    for ours, theirs in zip(found, expected, strict=True):
        theirs = theirs - theirs.min()
        np.testing.assert_allclose(ours, theirs / (theirs.max() or 1), atol=1e-4)
    assert not any(one.requires_grad for one in network.parameters())


def test_a_map_of_which_nothing_speaks_for_the_class_is_empty():
    network = Network(OneLayer(nn.ReLU()), nn.Linear(4, 2)).eval()
    nn.init.constant_(network.head.weight, -1)
    pixels = np.full((1, 6, 6, 3), 200, np.uint8)
    network.backbone.conv.weight.data.abs_()
    network.backbone.conv.bias.data.fill_(1.0)
    found = grad_cam(network, target_layer(network, "one", 6, 3), pixels, np.array([0]), preprocessing=PLAIN)
    assert not found.any()


def test_maps_of_one_network_come_out_alike_in_any_batch(squares):
    pixels, classes, _ = planted(5, 1)
    network, pre = squares.saved.network, squares.saved.about.preprocessing
    layer = target_layer(network, "cnn", pre.image_size, 3)
    one, all_ = (
        grad_cam(network, layer, pixels, classes, preprocessing=pre, batch_size=size) for size in (1, 5)
    )
    np.testing.assert_allclose(one, all_, atol=1e-3)


@pytest.fixture(scope="module")
def examined(squares):
    pixels, classes, corners = planted(24, 2)
    saved, pre = squares.saved, squares.saved.about.preprocessing
    layer = target_layer(saved.network, "cnn", pre.image_size, 3)

    def mapped(network):
        return lambda pixels, of: grad_cam(network, layer, pixels, of, preprocessing=pre)

    random = [mapped(with_random_weights(squares.model, seed=seed).network) for seed in (0, 1)]
    tell = lambda pixels: probabilities(saved, pixels)  # noqa: E731
    own = examine(mapped(saved.network), random[0], tell, pixels, classes, seed=0)
    of_random = examine(random[1], random[0], tell, pixels, classes, seed=0)
    return mapped(saved.network)(pixels, classes), corners, own, of_random


def test_the_map_is_hot_where_the_square_is(examined):
    found, corners, _, _ = examined
    where = inside(corners)
    hottest = found.reshape(len(found), -1).argmax(axis=1)
    assert where.reshape(len(found), -1)[np.arange(len(found)), hottest].mean() > 0.85
    assert found[where].mean() > 3 * found[~where].mean()


def test_maps_of_the_trained_network_pass_and_those_of_random_weights_fail(examined):
    _, _, own, of_random = examined
    assert own.follows is True
    assert own.gain(OWN).low > 0
    assert own.gain(OWN, UNTRAINED).low > 0
    assert own.turned[OWN].mean() > 0.5
    assert verdict(own).startswith("The maps follow the network")
    assert of_random.follows is not True
    assert not of_random.gain(OWN, UNTRAINED).low > 0
    assert not verdict(of_random).startswith("The maps follow")


def test_random_weights_are_those_before_any_training(squares):
    ours = with_random_weights(squares.model, seed=0).network.state_dict()
    for name, value in untrained(0)[1].state_dict().items():
        torch.testing.assert_close(ours[name], value, rtol=0, atol=0)
    theirs = squares.saved.network.state_dict()
    assert any(not torch.equal(ours[name], theirs[name]) for name in ours)


def test_probabilities_are_calibrated_as_predict_says_them(squares):
    import embedkit

    said = embedkit.predict(squares.model, squares.images, None, device="cpu")
    from PIL import Image

    pixels = np.stack([np.asarray(Image.open(squares.images / name)) for name in said.ids])
    np.testing.assert_allclose(probabilities(squares.saved, pixels, batch_size=7), said.outputs, atol=1e-5)


def test_attention_is_the_mean_over_heads_and_none_of_a_cnn(squares):
    loaded, network = untrained(0, backbone="test_vit")
    saved = SavedNetwork(network.eval(), about(loaded))
    pixels = planted(2, 0)[0]
    found = attention(saved, pixels)
    assert found.shape == (2, 3, 3)
    from reports.attention import attention_maps

    np.testing.assert_allclose(found, attention_maps(loaded, pixels).mean(axis=1), atol=1e-5)
    assert attention(squares.saved, pixels) is None
    late = timm.create_model("cait_xxs24_224", num_classes=0, img_size=48).eval()
    assert attention(replace(saved, network=Network(late, nn.Linear(192, 2))), pixels) is None


def test_what_to_install_is_named(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    with pytest.raises(EmbedkitError, match=r"Install embedkit-images\[cam\]"):
        maps.check_installed()
