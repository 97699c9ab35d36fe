import json
from dataclasses import asdict

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import HeadSpec, Network, build_head, build_network, feature_width
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from embedkit.strict_json import declared


def layers(head):
    return [type(layer) for layer in head]


def test_a_head_has_the_layers_in_this_order():
    spec = HeadSpec(widths=(8, 4), dropout=0.5, batch_norm=True)
    each = [nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout]
    head = build_head(16, 3, spec)
    assert layers(head) == [*each, *each, nn.Linear]
    assert [tuple(one.weight.shape) for one in head if isinstance(one, nn.Linear)] == [
        (8, 16),
        (4, 8),
        (3, 4),
    ]
    assert layers(build_head(16, 3, HeadSpec())) == [nn.Linear]
    assert layers(build_head(16, 3, HeadSpec(dropout=0.2))) == [nn.Dropout, nn.Linear]
    assert layers(build_head(16, 3, HeadSpec(widths=(2,), activation="gelu")))[1] is nn.GELU
    with pytest.raises(UsageError, match="0 outputs"):
        build_head(16, 0, HeadSpec())


def test_a_spec_comes_back_from_json():
    spec = HeadSpec(widths=(256, 128, 64), dropout=0.3, output="tree")
    assert declared(json.dumps(asdict(spec)), HeadSpec) == spec
    with pytest.raises(UsageError, match="widths 0"):
        HeadSpec(widths=(8, 0))


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "vit_tiny_patch16_224", "efficientnet_b0"])
def test_a_network_reads_what_the_backbone_gives(name):
    backbone = load_backbone(BackboneSpec(name, random_init=0))
    network = build_network(backbone, 5, HeadSpec(), seed=1)
    assert isinstance(network, Network)
    x = torch.randn(2, 3, 224, 224)
    with torch.inference_mode():
        features = backbone.model(x)
        assert torch.equal(network.eval()(x), network.head(features))
    assert features.shape == (2, feature_width(backbone))
    again, other = (build_network(backbone, 5, HeadSpec(), seed=seed).head[0].weight for seed in (1, 2))
    assert torch.equal(network.head[0].weight, again)
    assert not torch.equal(again, other)


def test_a_saved_network_is_a_backbone_of_extract(tmp_path):
    spec = BackboneSpec("resnet18", random_init=0, preprocessing=Overrides(image_size=64))
    network = build_network(load_backbone(spec), 5, HeadSpec(widths=(7,), batch_norm=True), seed=0)
    save_file(network.state_dict(), tmp_path / "model.safetensors")
    loaded = load_backbone(BackboneSpec("resnet18", weights=tmp_path / "model.safetensors"))
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, network.backbone.state_dict()[key])
