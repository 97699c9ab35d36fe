import re
from functools import lru_cache

import pytest
import torch
from timm.optim import param_groups_layer_decay, param_groups_weight_decay
from torch import nn

from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import HeadSpec, build_network
from embedkit.backbones.networks.registry import timm
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from pretrain.finetune.phase_options import Phase
from pretrain.finetune.phases import begin, parameter_groups
from pretrain.options import LoRA
from pretrain.trainable import set_training


@lru_cache
def backbone(name):
    if name.startswith("pixels:"):
        return load_backbone(BackboneSpec(name))
    return load_backbone(BackboneSpec(name, random_init=0, preprocessing=Overrides(image_size=64)))


def network(name):
    return build_network(backbone(name), 3, HeadSpec(), seed=0)


def trains(name, train, *, norms=True):
    made = network(name)
    begin(made, Phase(train=train, train_norms=norms), name=name, seed=0)
    assert all(parameter.requires_grad for parameter in made.head.parameters())
    return made, {key for key, parameter in made.backbone.named_parameters() if parameter.requires_grad}


def names_in(model, *starts):
    return {key for key, _ in model.named_parameters() if key.startswith(starts)}


def test_all_and_head():
    made, found = trains("resnet18", "all")
    assert found == {key for key, _ in made.backbone.named_parameters()}
    assert trains("resnet18", "head")[1] == set()


@pytest.mark.parametrize("with_norms", [True, False])
def test_the_last_70_convolutions_of_densenet121(with_norms):
    made, found = trains("densenet121", "last-convs:70", norms=with_norms)
    convs = [key for key, module in made.backbone.named_modules() if isinstance(module, nn.Conv2d)]
    # 1 + 2 x (6 + 12 + 24 + 16) + 3; DenseNet runs them in the order in which it lists them.
    assert len(convs) == 120
    trained = [key for key in convs if f"{key}.weight" in found]
    assert trained == convs[-70:]
    # 16 layers of two in the last block, the transition before it, and 37 of the 48 of the third block.
    assert sum(key.startswith("features.denseblock4") for key in trained) == 32
    assert sum(key.startswith("features.transition3") for key in trained) == 1
    assert trained[0] == "features.denseblock3.denselayer6.conv2"
    rest = found - {f"{key}.weight" for key in convs}
    assert all("norm" in key for key in rest)
    if with_norms:
        assert "features.denseblock3.denselayer6.norm2.weight" not in rest  # runs before the first of them
        assert "features.denseblock3.denselayer7.norm1.weight" in rest
        assert "features.norm5.bias" in rest
    else:
        assert not rest


@pytest.mark.parametrize("name", ["efficientnet_b0", "tf_efficientnet_lite0"])
def test_the_last_three_blocks_of_efficientnet(name):
    made, found = trains(name, "last-blocks:3")
    blocks = made.backbone.blocks
    assert len(blocks) == 7
    inside = {f"blocks.{i}.{key}" for i in (4, 5, 6) for key, _ in blocks[i].named_parameters()}
    assert found == inside | names_in(made.backbone, "conv_head", "bn2")
    assert trains(name, "last-stages:3")[1] == found


def test_the_last_two_stages_of_convnext_small():
    made, found = trains("convnext_small", "last-stages:2")
    assert found == names_in(made.backbone, "stages.2.", "stages.3.", "head.")
    assert sum(".conv_dw.weight" in key for key in found) == 27 + 3
    made, found = trains("convnext_small", "last-blocks:2")
    assert found == names_in(made.backbone, "stages.3.blocks.1.", "stages.3.blocks.2.", "head.")
    # The first block of a stage takes the halving before it along.
    assert "stages.3.downsample.1.weight" in trains("convnext_small", "last-blocks:3")[1]


@pytest.mark.parametrize(
    ("name", "train", "starts"),
    [
        ("resnet18", "last-stages:1", ("layer4.",)),
        ("resnet50", "last-blocks:4", ("layer3.5.", "layer4.")),
        ("densenet121", "last-stages:1", ("features.denseblock4.", "features.norm5.")),
        ("densenet121", "last-blocks:1", ("features.denseblock4.denselayer16.", "features.norm5.")),
        ("regnetx_002", "last-stages:2", ("s3.", "s4.")),
        ("vit_tiny_patch16_224", "last-blocks:3", ("blocks.9.", "blocks.10.", "blocks.11.", "norm.")),
        ("embedkit_cnn", "last-stages:2", ("stages.2.", "stages.3.")),
        ("embedkit_vgg", "last-blocks:3", ("stages.3.layer1.", "stages.4.")),
    ],
)
def test_blocks_and_stages_of_others(name, train, starts):
    made, found = trains(name, train)
    assert found == names_in(made.backbone, *starts)


def test_convolutions_count_in_the_order_in_which_they_run():
    # A shortcut's convolution is listed after the two that it runs beside, and runs after them too.
    _, found = trains("resnet18", "last-convs:5", norms=False)
    blocks = ("layer4.0.conv1", "layer4.0.conv2", "layer4.0.downsample.0", "layer4.1.conv1", "layer4.1.conv2")
    assert found == {f"{key}.weight" for key in blocks}


@pytest.mark.slow
def test_the_later_convolutions_of_vgg11_are_drawn_anew():
    before = network("vgg11").backbone.state_dict()
    made, found = trains("vgg11", "reinit-last-convs:4")
    convs = [key for key, module in made.backbone.features.named_modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 8
    drawn = {f"features.{key}.{what}" for key in convs[-4:] for what in ("weight", "bias")}
    after = {f"pre_logits.{key}.{what}" for key in ("fc1", "fc2") for what in ("weight", "bias")}
    assert found == drawn | after
    now = made.backbone.state_dict()
    for key, value in before.items():
        is_new = key in found and key.endswith("weight")
        assert torch.equal(value, now[key]) != is_new
    last = now[f"features.{convs[-1]}.weight"]
    assert last.std().item() == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.01)  # He et al., by outputs
    drawn_once = last.clone()
    for seed, is_same in ((0, True), (1, False)):
        begin(made, Phase(train="reinit-last-convs:4"), name="vgg11", seed=seed)
        assert torch.equal(last, drawn_once) == is_same


def test_reinit_draws_norms_anew_with_their_statistics():
    made = network("resnet18")
    for module in made.backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.fill_(3)
            module.weight.data.fill_(2)
    begin(made, Phase(train="reinit-last-convs:2"), name="resnet18", seed=0)
    last, first = made.backbone.layer4[1].bn2, made.backbone.bn1
    assert (last.running_mean.max(), last.weight.max()) == (0, 1)
    assert (first.running_mean.min(), first.weight.min()) == (3, 2)


@pytest.mark.parametrize(
    ("name", "train", "says"),
    [
        ("resnet18", "last-stages:5", "resnet18 has 4 stages. Give last-stages:4 or less"),
        ("resnet18", "last-blocks:9", "resnet18 has 8 blocks. Give last-blocks:8 or less"),
        ("densenet121", "last-convs:121", "densenet121 has 120 convolutional layers"),
        ("vgg11", "last-convs:9", "vgg11 has 8 convolutional layers"),
        ("efficientnet_b0", "last-blocks:8", "has 7 blocks"),
        ("resnet18", "lora", "resnet18 has no attention blocks for LoRA. Give train = all"),
        ("convnext_small", "reinit-last-convs:1", "can't be drawn anew, in a ConvNeXtBlock"),
        ("pixels:32", "all", "no weights there"),
        ("pixels:32", "last-blocks:1", "timm doesn't say"),
    ],
)
def test_what_a_network_has_not_is_refused(name, train, says):
    made = network(name)
    with pytest.raises(UsageError, match=says):
        begin(made, Phase(train=train), name=name, seed=0)


def test_a_vit_has_too_few_convolutions_to_count():
    with pytest.raises(UsageError, match="vit_tiny_patch16_224 has 1 convolutional layers"):
        trains("vit_tiny_patch16_224", "last-convs:2")


def test_frozen_batch_norms_keep_their_statistics():
    made, _ = trains("efficientnet_b0", "last-blocks:1")
    before = {key: value.clone() for key, value in made.backbone.state_dict().items()}
    set_training(made)
    made(torch.randn(4, 3, 64, 64))
    moved = {key for key, value in made.backbone.state_dict().items() if not torch.equal(value, before[key])}
    assert moved
    assert all(key.startswith(("blocks.6.", "bn2.")) for key in moved)
    made, _ = trains("efficientnet_b0", "last-blocks:1", norms=False)
    set_training(made)
    made(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(value, before[key]) for key, value in made.backbone.state_dict().items())


def test_lora_trains_its_own_and_merges_for_the_next_phase():
    name = "vit_tiny_patch16_224"
    made = network(name)
    plain = {key: value.clone() for key, value in made.backbone.state_dict().items()}
    lora = LoRA(lora_rank=4, lora_alpha=8)
    begin(made, Phase(train="lora"), name=name, seed=0, lora=lora)
    groups = parameter_groups(made, Phase(train="lora", head_lr=1e-2, lr=1e-3), name=name)
    assert [(one.name, one.lr_scale) for one in groups] == [
        ("backbone", 1.0), ("head", 10.0), ("head, no decay", 10.0)
    ]  # fmt: skip
    assert all(".lora_" in key for key in groups[0].names)
    assert sum(one.numel() for one in groups[0].parameters) == 12 * 4 * (192 + 3 * 192)
    keys = dict(made.named_parameters())
    assert all(
        keys[key] is one for group in groups for key, one in zip(group.names, group.parameters, strict=True)
    )
    adapted = made.backbone
    begin(made, Phase(train="lora"), name=name, seed=1, lora=lora)  # a second phase goes on with the first's
    assert made.backbone is adapted
    for key, parameter in made.backbone.named_parameters():
        if "lora_B" in key:
            nn.init.normal_(parameter, std=0.02)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = made.eval()(x)
        begin(made, Phase(train="last-blocks:1"), name=name, seed=0)
        torch.testing.assert_close(made.eval()(x), expected, rtol=1e-4, atol=1e-5)
    assert set(made.backbone.state_dict()) == set(plain)
    assert {key for key, one in made.backbone.named_parameters() if one.requires_grad} == names_in(
        made.backbone, "blocks.11.", "norm."
    )


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_small", "efficientnet_b0"])
def test_groups_have_the_rates_that_timm_gives_a_network_with_its_classifier(name):
    made = network(name)
    begin(made, Phase(train="all"), name=name, seed=0)
    groups = parameter_groups(made, Phase(), name=name, layer_decay=0.7)
    ours = {key: (one.lr_scale, one.decays) for one in groups for key in one.names}
    assert len(ours) == len(list(made.parameters())) == sum(len(one.names) for one in groups)
    reference = timm.create_model(name, num_classes=3)
    keys = {id(parameter): key for key, parameter in reference.named_parameters()}
    classifier = reference.get_classifier()
    inside = {id(parameter) for parameter in classifier.parameters()}
    theirs = param_groups_layer_decay(
        reference, 0.1, no_weight_decay_list=getattr(reference, "no_weight_decay", set)(), layer_decay=0.7
    )
    for group in theirs:
        for parameter in group["params"]:
            if id(parameter) not in inside:
                key = f"backbone.{keys[id(parameter)]}"
                assert ours[key] == (pytest.approx(group["lr_scale"]), group["weight_decay"] > 0)
    assert ours["head.0.weight"] == (1.0, True)
    assert ours["head.0.bias"] == (1.0, False)


def test_decay_is_as_timm_has_it_where_all_layers_learn_alike():
    made = network("vit_tiny_patch16_224")
    begin(made, Phase(train="all"), name="vit", seed=0)
    groups = parameter_groups(made, Phase(lr=1e-4, head_lr=5e-4), name="vit")
    assert [(one.name, round(one.lr_scale, 9), one.decays) for one in groups] == [
        ("backbone", 1.0, True),
        ("backbone, no decay", 1.0, False),
        ("head", 5.0, True),
        ("head, no decay", 5.0, False),
    ]
    none, some = param_groups_weight_decay(
        made.backbone, 0.1, no_weight_decay_list=made.backbone.no_weight_decay()
    )
    assert [id(one) for one in groups[0].parameters] == [id(one) for one in some["params"]]
    assert [id(one) for one in groups[1].parameters] == [id(one) for one in none["params"]]


def test_what_is_frozen_is_in_no_group():
    made, found = trains("resnet18", "last-stages:1")
    groups = parameter_groups(made, Phase(), name="resnet18", layer_decay=0.5)
    names = {key for one in groups for key in one.names}
    assert {key.removeprefix("backbone.") for key in names if key.startswith("backbone.")} == found
    assert [one.name for one in groups if one.name.startswith("head")] == ["head", "head, no decay"]
    assert all(re.fullmatch(r"(backbone layer \d+|head)(, no decay)?", one.name) for one in groups)


def test_layer_decay_wants_layers():
    made = network("pixels:32")
    begin(made, Phase(train="head"), name="pixels:32", seed=0)
    assert [one.name for one in parameter_groups(made, Phase(train="head"), name="pixels:32")] == [
        "head",
        "head, no decay",
    ]
    with pytest.raises(UsageError, match="layer_decay: timm doesn't say"):
        parameter_groups(made, Phase(train="head"), name="pixels:32", layer_decay=0.9)
