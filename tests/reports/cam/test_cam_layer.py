"""Which layer is looked at: what timm says of its models, held against what timm itself returns."""

import pytest
import timm
import torch
from torch import nn

from embedkit.backbones.head import HeadSpec
from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import Network, build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from reports.cam.layer import Layer, target_layer


def network_of(name, size):
    backbone = load_backbone(
        BackboneSpec(name, random_init=0, preprocessing=Overrides(image_size=size, resize=size))
    )
    return build_network(backbone, 3, HeadSpec(), seed=0)


@pytest.mark.parametrize(
    ("name", "size", "expected"),
    [
        ("embedkit_cnn", 128, Layer("stages.3", 4, 4)),
        ("embedkit_votes_cnn", 48, Layer("stages.3", 6, 6)),
        ("test_resnet", 96, Layer("layer4", 3, 3)),
        ("efficientnet_b0", 96, Layer("blocks.6", 3, 3)),
        ("test_convnext", 96, Layer("stages.3", 3, 3)),
        # The class token alone is read after the last block.
        ("test_vit", 64, Layer("blocks.5.norm1", 4, 4, 1)),
        ("deit_tiny_distilled_patch16_224", 64, Layer("blocks.11.norm1", 4, 4, 2)),
        ("vit_relpos_small_patch16_224", 64, Layer("blocks.11", 4, 4)),  # of this the mean of patches is
        ("swin_s3_tiny_224", 224, Layer("layers.3", 7, 7, channels_last=True)),
        ("mixer_s32_224", 224, Layer("blocks.7", 7, 7)),
        ("xcit_nano_12_p16_224", 224, Layer("blocks.11", 14, 14)),
    ],
)
def test_the_layer_is_the_last_that_has_a_say(name, size, expected):
    assert target_layer(network_of(name, size), name, size, 3) == expected


def test_a_head_that_reads_the_mean_of_patches_is_mapped_after_the_last_block():
    model = timm.create_model("test_vit", num_classes=0, global_pool="avg", img_size=64).eval()
    network = Network(model, nn.Linear(64, 2)).eval()
    assert target_layer(network, "test_vit", 64, 3).name == "blocks.5"


@pytest.mark.parametrize("name", ["test_vit", "vit_small_patch14_reg4_dinov2"])
def test_tokens_become_the_grid_that_timm_makes_of_them(name):
    patch = 14 if "14" in name else 16
    model = timm.create_model(name, num_classes=0, img_size=(4 * patch, 6 * patch)).eval()
    last = len(model.blocks) - 1
    layer = Layer(f"blocks.{last}", 4, 6, model.num_prefix_tokens)
    kept = []
    hook = layer.module(Network(model, nn.Identity())).register_forward_hook(
        lambda _module, _input, output: kept.append(output)
    )
    x = torch.randn(2, 3, 4 * patch, 6 * patch, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        (theirs,) = model.forward_intermediates(
            x, indices=[last], norm=False, output_fmt="NCHW", intermediates_only=True
        )
    hook.remove()
    torch.testing.assert_close(layer(kept[0]), theirs, rtol=0, atol=0)


def test_a_network_that_describes_nothing_is_refused_by_name():
    network = Network(
        nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(2, 2)
    )
    with pytest.raises(UsageError, match=r"mine describes no layer .* Train another --backbone"):
        target_layer(network.eval(), "mine", 8, 3)
