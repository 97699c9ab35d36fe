"""Which weights train, and that what is saved is what was evaluated."""

import pytest
import timm
import torch
from torch import nn

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from pretrain.artefact import merge, save_adapter
from pretrain.options import LoRA, PretrainOptions
from pretrain.trainable import choose_weights, set_training, unfreeze_last
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

PRE = Overrides(image_size=32, resize=32)
SPEC = BackboneSpec("test_vit", random_init=0, preprocessing=PRE)
PIXELS = torch.randint(0, 255, (24, 3, 40, 40), dtype=torch.uint8, generator=torch.manual_seed(0))


def moved(before, model):
    """Names of the weights that are not what they were."""
    return {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize(
    ("more", "trains"),
    [
        ({"train_norms": True}, ["norm", "attn.qkv"]),
        (
            {"unfreeze_blocks": 2, "lora_rank": 4, "lora_alpha": 8, "lora_blocks": 3},
            ["blocks.5.", "blocks.4.", "blocks.3.attn.qkv"],
        ),
        (
            {
                "unfreeze_blocks": 1,
                "train_norms": True,
                "lora_rank": 2,
                "lora_alpha": 2,
                "lora_targets": "all",
            },
            ["norm", "blocks.5.", "attn.", "mlp."],
        ),
        ({"lora_rank": 2, "lora_alpha": 2, "lora_targets": "qkv"}, ["attn.qkv"]),
        ({"method": "vicreg-lora"}, ["attn.qkv"]),
    ],
)
def test_the_folder_holds_the_evaluated_network_bit_for_bit(more, trains, tmp_path):
    base = {"batch_size": 8, "held_out": 8, "epochs": 2, "local_views": 0, "prototypes": 16, "lr": 1e-3}
    options = PretrainOptions(**base, centering="sinkhorn", device="cpu", **more)
    backbone = load_backbone(SPEC)
    trained = Run(WithoutLabels(backbone, PIXELS, options), tmp_path).train()
    x = torch.randn(5, 3, 32, 32)
    for which in ("chosen", "last"):
        model = trained.load(which)
        with torch.no_grad():
            expected = model(x)
            save_adapter(model, tmp_path / which, base={"name": "test_vit"})
            merge(model, tmp_path / f"{which}.safetensors")
            spec = BackboneSpec("test_vit", random_init=0, adapter=tmp_path / which, preprocessing=PRE)
            assert torch.equal(load_backbone(spec).model(x), expected)
            merged = load_backbone(
                BackboneSpec("test_vit", weights=tmp_path / f"{which}.safetensors", preprocessing=PRE)
            )
            torch.testing.assert_close(merged.model(x), expected, rtol=1e-5, atol=1e-5)
    names = {
        name.removesuffix(".weight").removesuffix(".bias")
        for name in moved(backbone.model.state_dict(), merged.model)
    }
    for part in trains:
        assert any(part in name for name in names), part
    assert all(any(part in name for part in trains) for name in names), names


@pytest.mark.parametrize(("name", "first"), [("test_vit", "blocks.4."), ("test_resnet", "layer3.")])
def test_the_last_blocks_alone_train_with_what_follows_them(name, first):
    options = PretrainOptions(method="dino", unfreeze_blocks=2)
    model = choose_weights(load_backbone(BackboneSpec(name, random_init=0)).model, options, name)
    flags = [p.requires_grad for p in model.parameters()]
    names = [key for key, _ in model.named_parameters()]
    assert flags == sorted(flags)
    assert names[flags.index(True)].startswith(first)
    set_training(model)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model(torch.randn(4, 3, 160, 160))
    statistics = {key for key in before if not torch.equal(before[key], model.state_dict()[key])}
    assert all(key.startswith(("layer3", "layer4")) for key in statistics)  # of frozen stages they stay
    assert bool(statistics) == (name == "test_resnet")
    options = PretrainOptions(method="dino", unfreeze_blocks=1, train_norms=True)
    model = choose_weights(model, options, name)
    assert any("norm" in key or "bn" in key for key, p in model.named_parameters() if p.requires_grad)


def test_what_makes_no_sense_is_refused():
    model = load_backbone(SPEC).model
    with pytest.raises(UsageError, match="--unfreeze-blocks 9: test_vit has 6"):
        choose_weights(model, PretrainOptions(unfreeze_blocks=9), "test_vit")
    with pytest.raises(UsageError, match="--unfreeze-blocks leaves LoRA no block"):
        choose_weights(model, PretrainOptions(unfreeze_blocks=6), "test_vit")
    with pytest.raises(UsageError, match="--method vicreg trains all weights already"):
        PretrainOptions(method="vicreg", train_norms=True)
    with pytest.raises(UsageError, match="--lora-targets v: unknown"):
        LoRA(lora_targets="v")


@pytest.mark.parametrize(
    ("name", "n", "first", "last"),
    [
        # timm says that a stage of these ends with a normalisation, an activation or a pooling.
        ("densenet121", 1, "features.transition3.", "features.norm5."),
        ("densenet121", 2, "features.denseblock3.", "features.norm5."),
        ("vgg11", 1, "features.16.", "features.18."),
        ("repvgg_a0", 1, "stages.3.", "stages.3."),
        ("mobilenetv3_small_050", 5, "conv_stem.", "conv_head."),
        ("efficientnet_b0", 1, "blocks.6.", "bn2."),
        ("resnet18", 1, "layer4.", "layer4."),
    ],
)
def test_a_block_is_more_than_what_timm_names_its_end(name, n, first, last):
    model = timm.create_model(name, num_classes=0)
    unfreeze_last(model, n, name=name)
    trains = [key for key, p in model.named_parameters() if p.requires_grad]
    assert trains[0].startswith(first)
    assert [key for key in trains if not key.startswith("pre_logits.")][-1].startswith(last)


class Plain(nn.Module):
    """Two blocks whose normalisations have no weights, and dropout."""

    def __init__(self):
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))
        self.first = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Dropout(0.5))
        self.second = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False), nn.Dropout(0.5))

    def forward(self, x):
        return self.second(self.first(x + self.place))


@pytest.mark.parametrize("trains", ["", "second", "all"])
def test_statistics_of_frozen_normalisations_without_weights_stay(trains):
    model = Plain()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(trains == "all" or (trains != "" and name.startswith(trains)))
    before = {name: value.clone() for name, value in model.named_buffers()}
    for _ in range(2):
        set_training(model)
        model(torch.randn(8, 4))
    changed = {
        name.split(".")[0] for name, value in model.named_buffers() if not torch.equal(value, before[name])
    }
    assert changed == {"": set(), "second": {"second"}, "all": {"first", "second"}}[trains]
    assert model.first[2].training == (trains == "all")
    assert model.second[2].training == (trains != "")


def test_low_rank_updates_leave_statistics_as_they_are():
    import peft

    model = peft.get_peft_model(Plain(), peft.LoraConfig(target_modules=["second.0"], r=2, lora_dropout=0.5))
    before = {name: value.clone() for name, value in model.named_buffers()}
    set_training(model)
    model(torch.randn(8, 4))
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    base = model.get_base_model()
    assert base.second[0].lora_dropout["default"].training
    assert not base.first[2].training
