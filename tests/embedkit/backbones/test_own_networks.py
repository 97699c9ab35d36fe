import pytest
import torch
from torch import nn

from embedkit.backbones.load import check_backbone, load_backbone
from embedkit.backbones.network import HeadSpec, build_network
from embedkit.backbones.networks.registry import OWN, timm
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.pooling import Pooling
from embedkit.errors import UsageError
from embedkit.images.options import Overrides


def convolutions(model):
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def order(model):
    """Kinds of layers in the order in which they run."""
    seen, hooks = [], []
    for module in model.modules():
        if not list(module.children()):
            hooks.append(module.register_forward_hook(lambda m, i, o: seen.append(type(m).__name__)))
    size = model.pretrained_cfg["input_size"]
    with torch.inference_mode():
        model.eval()(torch.zeros(1, *size))
    for hook in hooks:
        hook.remove()
    return [name for name in seen if name not in ("Identity", "Dropout")]


def made(name, seed=0):
    torch.manual_seed(seed)
    return timm.create_model(name, num_classes=0)


def test_the_scratch_vgg_is_vgg11_with_32_channels_and_weights_of_variance_a_hundredth():
    model, vgg = made("embedkit_vgg"), timm.create_model("vgg11", num_classes=0)
    theirs = [type(layer).__name__ for layer in vgg.features]
    assert order(model) == [*theirs, "AdaptiveAvgPool2d"]
    for ours, one in zip(convolutions(model), convolutions(vgg.features), strict=True):
        assert ours.out_channels == 32
        assert (ours.kernel_size, ours.padding) == (one.kernel_size, one.padding) == ((3, 3), (1, 1))
        assert not ours.bias.any()
    weights = torch.cat([conv.weight.flatten() for conv in convolutions(model)])
    assert len(weights) == 9 * 32 * (3 + 7 * 32)
    # The variance of n normal values has a standard error of variance x sqrt(2 / n).
    assert weights.var().item() == pytest.approx(1e-2, abs=4 * 1e-2 * (2 / len(weights)) ** 0.5)
    assert weights.mean().item() == pytest.approx(0, abs=4 * 0.1 / len(weights) ** 0.5)


def test_the_head_of_the_scratch_vgg_is_drawn_likewise():
    network = build_network(
        load_backbone(BackboneSpec("embedkit_vgg", random_init=0)),
        10,
        HeadSpec((32, 32), init_std=0.1),
        seed=0,
    )
    weights = network.head[0].weight
    assert weights.shape == (32, 32 * 7 * 7)
    assert weights.var().item() == pytest.approx(1e-2, rel=0.03)
    assert not any(layer.bias.any() for layer in network.head if isinstance(layer, nn.Linear))


def test_the_custom_cnn_averages_first_and_normalises_after_each_relu():
    model = made("embedkit_cnn")
    each = ["Conv2d", "ReLU", "BatchNorm2d"]
    found = order(model)
    assert found[0] == "AvgPool2d"
    assert [name for name in found if "Pool" not in name] == each * 4
    assert {conv.out_channels for conv in convolutions(model)} == {32}
    assert len(convolutions(model)) < len(convolutions(made("embedkit_vgg")))


@pytest.mark.parametrize("name", OWN)
def test_they_are_what_timm_and_extract_expect(name):
    backbone = load_backbone(BackboneSpec(name, random_init=0))
    model, size = backbone.model, backbone.preprocessing.image_size
    x = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        maps = model.forward_intermediates(x, intermediates_only=True)
        final, again = model.forward_intermediates(x)
        assert torch.equal(final, model.forward_features(x))
        assert torch.equal(model(x), model.forward_head(final, pre_logits=True))
        assert model(x).shape == (2, model.head_hidden_size)
        alone = model.forward_intermediates(x, indices=[1], stop_early=True, intermediates_only=True)
        assert torch.equal(alone[0], maps[1])
        for pool in ("auto", "avg", "model"):
            assert torch.isfinite(Pooling.choose(backbone, pool=pool)(backbone, x)).all()
    for one, info in zip(maps, model.feature_info, strict=True):
        assert one.shape[1] == info["num_chs"]
        assert one.shape[2] == size // info["reduction"]
        assert model.get_submodule(info["module"]) is not None
    assert again[0].shape == maps[0].shape
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    assert timm.create_model(name, num_classes=3, in_chans=1)(x[:, :1]).shape == (2, 3)
    assert model.get_submodule(model.pretrained_cfg["first_conv"]) is convolutions(model)[0]
    small = load_backbone(BackboneSpec(name, random_init=0, preprocessing=Overrides(image_size=64)))
    assert small.model(torch.zeros(1, 3, 64, 64)).shape == (1, model.head_hidden_size)


@pytest.mark.parametrize("name", OWN)
def test_the_seed_fixes_them_and_a_file_brings_them_back(name, tmp_path):
    from safetensors.torch import save_file

    first, again, other = (load_backbone(BackboneSpec(name, random_init=seed)) for seed in (0, 0, 1))
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    save_file(other.model.state_dict(), tmp_path / "w.safetensors")
    assert (
        load_backbone(BackboneSpec(name, weights=tmp_path / "w.safetensors")).weights_sha256
        == other.weights_sha256
    )


def test_without_weights_they_are_refused_before_the_hub_is_asked(monkeypatch):
    monkeypatch.setattr("embedkit.backbones.load.hub_or_cache", None)
    for name in OWN:
        for call in (load_backbone, check_backbone):
            with pytest.raises(UsageError, match=f"{name} has no published weights"):
                call(BackboneSpec(name))
    check_backbone(BackboneSpec("vgg11"))
    check_backbone(BackboneSpec("vit_small_patch16_224.dino"))
    with pytest.raises(UsageError, match="Close: embedkit_vgg"):
        check_backbone(BackboneSpec("embedkit_vg"))
