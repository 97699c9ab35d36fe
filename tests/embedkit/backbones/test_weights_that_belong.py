"""Every tensor of a weights file is taken, left for a reason that is said, or refused by name."""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from embedkit.backbones.checkpoints.leftovers import leftover
from embedkit.backbones.checkpoints.likely import looks_like
from embedkit.backbones.checkpoints.reading import n_tensors, read_tensors
from embedkit.backbones.checkpoints.wrappers import ORDER, WITHIN
from embedkit.backbones.load import Backbone, load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import EmbedkitError
from embedkit.images.options import Overrides

TINY = "test_vit"


def state_of(name: str, seed: int = 5, **arguments) -> dict[str, torch.Tensor]:
    """A network's state, every value drawn, so that no two tensors are alike and none is zero."""
    random = torch.Generator().manual_seed(seed)
    state = timm.create_model(name, **{"num_classes": 0} | arguments).state_dict()
    return {
        key: value if not value.is_floating_point() else torch.rand(value.shape, generator=random) / 10 + 0.01
        for key, value in state.items()
    }


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return state_of(TINY)


def loaded(content: object, path: Path, name: str = TINY) -> Backbone:
    torch.save(content, path)
    return load_backbone(BackboneSpec(name, weights=path))


def is_of(backbone: Backbone, state: dict[str, torch.Tensor]) -> bool:
    own = backbone.model.state_dict()
    return own.keys() == state.keys() and all(torch.equal(own[key], state[key]) for key in own)


def wrapped(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{key}": value for key, value in state.items()}


@pytest.mark.parametrize("prefix", ORDER)
def test_every_wrapper_comes_off(prefix, state, tmp_path):
    backbone = loaded(wrapped(state, f"{prefix}."), tmp_path / "w.pth")
    assert is_of(backbone, state)
    # Those that come between the parts of a name are taken off everywhere, and not kept.
    assert backbone.tensors["taken_from"] == ("" if WITHIN.match(f"{prefix}.") else prefix)
    assert backbone.tensors["ignored"] == {}


NAMED = ("module", "_orig_mod", "model", "backbone", "teacher", "teacher_backbone", "encoder_q", "encoder")


@pytest.mark.parametrize("order", [*itertools.permutations(NAMED, 2), *itertools.permutations(NAMED[:4], 3)])
def test_wrappers_come_off_in_any_order(order, state, tmp_path):
    assert is_of(loaded(wrapped(state, f"{'.'.join(order)}."), tmp_path / "w.pth"), state)


@pytest.mark.parametrize(
    "container", ["state_dict", "model", "teacher", "model_ema", "student", "target_encoder"]
)
def test_containers_hold_wrapped_networks(container, state, tmp_path):
    content = {
        container: wrapped(state, "module.backbone."),
        "epoch": 3,
        "optimizer": {"state": {0: torch.ones(3)}},
    }
    assert is_of(loaded(content, tmp_path / "w.pth"), state)


def test_single_blocks_may_be_wrapped_within(state, tmp_path):
    within = {key.replace("blocks.1.", "blocks.1._orig_mod."): value for key, value in state.items()}
    assert is_of(loaded(wrapped(within, "_orig_mod.module."), tmp_path / "w.pth"), state)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ("teacher.", "student."),
        ("teacher.backbone.", "student.module.backbone."),
        ("teacher_backbone.", "student_backbone."),
        ("model_ema.", "model."),
        ("state_dict_ema.", "state_dict."),
        ("target_encoder.module.", "encoder.module."),
        ("encoder_q.", "encoder_k."),
        ("backbone.", "momentum_backbone."),
        ("base_encoder.", "momentum_encoder."),
        ("model.teacher.", "model.student."),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_the_better_of_two_networks_is_taken(better, worse, turned, state, tmp_path):
    other = wrapped({key: value * 2 for key, value in state.items()}, worse)
    parts = [other, wrapped(state, better)] if turned else [wrapped(state, better), other]
    backbone = loaded(parts[0] | parts[1], tmp_path / "w.pth")
    assert is_of(backbone, state)
    assert sum(backbone.tensors["ignored"].values()) == len(state)
    assert " was taken" in next(iter(backbone.tensors["ignored"]))


LEFT = {
    "head.weight": "classifier",
    "fc.bias": "classifier",
    "classifier.1.weight": "classifier",
    "head.mlp.0.weight": "classifier",
    "dino_head.last_layer.weight_g": "head of DINO or iBOT",
    "ibot_head.mlp.2.bias": "head of DINO or iBOT",
    "mask_token": "mask token",
    "projector.0.weight": "projector of pretraining",
    "projection_head.layers.0.weight": "projector of pretraining",
    "prediction_head.layers.3.bias": "projector of pretraining",
    "momentum_projector.2.weight": "projector of pretraining",
    "queue": "queue or memory of pretraining",
    "queue_ptr": "queue or memory of pretraining",
    "decoder_blocks.0.norm1.weight": "decoder or head of masked pretraining",
    "prototypes.weight": "head of DINO or iBOT",
    "n_averaged": "count of averaged steps",
    "bn.num_batches_tracked": "count of batches",
}


@pytest.mark.parametrize("name", LEFT)
@pytest.mark.parametrize("prefix", ["", "module.", "teacher.backbone."])
def test_what_is_no_part_of_the_features_is_left_and_said(name, prefix, state, tmp_path):
    backbone = loaded(wrapped(state | {name: torch.ones(3)}, prefix), tmp_path / "w.pth")
    assert is_of(backbone, state)
    assert backbone.tensors["ignored"] == {LEFT[name]: 1}
    assert backbone.tensors["n"] == len(state) + 1 == backbone.tensors["n_taken"] + 1


NO_PLACE = """
    blocks.0.ls1.gamma reg_token blocks.6.norm1.weight norm_pre.weight fc_norm.weight dist_token stem.weight
    blocks.0.attn.q_norm.weight blocks.2.mlp.norm.weight adapter.down.weight
"""


@pytest.mark.parametrize("name", NO_PLACE.split())
def test_what_has_no_place_is_refused_by_name(name, state, tmp_path):
    with pytest.raises(
        EmbedkitError, match=rf"not the weights of test_vit: one tensor has no place in it, such as {name}"
    ):
        loaded(state | {name: torch.ones(64)}, tmp_path / "w.pth")


DINO = "vit_small_patch16_224.dino"
OTHERS = {
    ("resnet26", "resnet50"): "looks like resnet50:",
    ("resnet18", "resnet34"): "looks like resnet34:",
    ("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"): "looks like deit_tiny_distilled",
    (DINO, "vit_small_patch8_224.dino"): "patches are of 8 x 8 pixels, not 16 x 16.*vit_small_patch8_224:",
    (DINO, "vit_small_patch14_dinov2"): "patches are of 14 x 14.*looks like vit_small_patch14_dinov2:",
    (DINO, "vit_small_patch14_reg4_dinov2"): "looks like vit_small_patch14_reg4_dinov2:",
    (DINO, "vit_tiny_patch16_224"): "looks like vit_tiny_patch16_224:",
    ("convnext_atto", "convnext_femto"): "looks like convnext_femto:",
    ("resnet18", "vit_tiny_patch16_224"): "looks like vit_tiny_patch16_224:",
    ("vit_tiny_patch16_224", "resnet18"): "looks like resnet18:",
    ("regnety_002", "regnetx_002"): "looks like regnetx_002:",
}


@pytest.mark.parametrize(("asked", "is_really"), OTHERS)
def test_another_networks_weights_are_refused_with_its_name(asked, is_really, tmp_path):
    with pytest.raises(
        EmbedkitError, match=f"not the weights of {asked.partition('.')[0]}.*{OTHERS[asked, is_really]}"
    ):
        loaded(state_of(is_really.partition(".")[0], num_classes=10), tmp_path / "w.pth", asked)


def test_the_likely_one_is_silent_on_what_nobody_knows():
    assert looks_like({"layer.0.weight": torch.Size([3, 3])}, not_this=TINY) is None


@pytest.mark.parametrize(
    "name", ["resnet10t", "convnext_atto", "test_resnet", "test_vit2", "test_convnext", "regnetx_002"]
)
def test_a_network_with_its_classifier_gives_its_own_features(name, tmp_path):
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=7).eval()
    backbone = loaded({"state_dict": wrapped(model.state_dict(), "module.")}, tmp_path / "w.pth", name)
    x = torch.randn(2, *model.pretrained_cfg["input_size"])
    with torch.inference_mode():
        mine, own = backbone.model(x), model.forward_head(model.forward_features(x), pre_logits=True)
    assert torch.equal(mine, own)
    assert set(backbone.tensors["ignored"]) <= {"classifier"}


def test_resampled_positions_are_said_and_a_wrong_prefix_is_refused(state, tmp_path, capsys):
    grid = state["pos_embed"][:, 1:].reshape(1, 10, 10, 64)[:, :6, :6].reshape(1, 36, 64)
    smaller = torch.cat([state["pos_embed"][:, :1], grid], dim=1)
    backbone = loaded(state | {"pos_embed": smaller}, tmp_path / "w.pth")
    assert backbone.tensors["resampled"] == ["pos_embed 1 x 37 x 64 to 1 x 101 x 64"]
    assert "resampled to the input size" in capsys.readouterr().err
    for positions in (state["pos_embed"][:, 1:], torch.cat([state["pos_embed"], smaller[:, :4]], dim=1)):
        with pytest.raises(
            EmbedkitError, match="positions, which beside 1 of class token and registers make no square"
        ):
            loaded(state | {"pos_embed": positions}, tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t * float("nan"), "holds NaN or infinity"),
        (lambda t: t.double() * 1e300, "holds NaN or infinity"),
        (lambda t: t.to(torch.int8), "holds int8, as quantised"),
        (lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.qint8), "is quantised"),
        (lambda t: t.to("meta"), "no values"),
        (lambda t: t.to_sparse(), "is sparse"),
        (lambda t: t.to(torch.complex64), "is complex"),
        (lambda t: t[:-1], "has shape"),
        (lambda t: torch.zeros(1).expand(10**12), "claims 1,000,000,000,000 values"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_is_no_weight_is_refused(change, message, state, tmp_path):
    with pytest.raises(EmbedkitError, match=message):
        loaded(
            state | {"blocks.2.mlp.fc1.weight": change(state["blocks.2.mlp.fc1.weight"])}, tmp_path / "w.pth"
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_floats_become_float32(dtype, state, tmp_path):
    backbone = loaded({key: value.to(dtype) for key, value in state.items()}, tmp_path / "w.pth")
    assert is_of(backbone, {key: value.to(dtype).float() for key, value in state.items()})


def test_old_files_without_counts_of_batches_load(tmp_path):
    state = state_of("test_resnet")
    backbone = loaded(
        {k: v for k, v in state.items() if "num_batches" not in k}, tmp_path / "w.pth", "test_resnet"
    )
    assert is_of(backbone, state)


def test_sharded_weights_are_read_through_their_index(state, tmp_path):
    from huggingface_hub import save_torch_state_dict

    save_torch_state_dict(state, tmp_path, max_shard_size=300_000)
    index = tmp_path / "model.safetensors.index.json"
    assert index.is_file()
    assert is_of(load_backbone(BackboneSpec(TINY, weights=index)), state)
    first = next(tmp_path.glob("*.safetensors"))
    index.write_text(index.read_text().replace(first.name, "../" + first.name))
    with pytest.raises(EmbedkitError, match="as a shard, which is no file beside it"):
        read_tensors(index)
    index.write_text('{"weight_map": {"a": 3}}')
    with pytest.raises(EmbedkitError, match="not an index of sharded weights"):
        read_tensors(index)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors", "w.safetensors.index.json"])
def test_only_regular_files_are_read(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(EmbedkitError, match="a named pipe, not a regular file"):
        load_backbone(BackboneSpec(TINY, weights=tmp_path / name))


@pytest.mark.parametrize("content", [{}, {"epoch": 3}, [torch.ones(3)], torch.ones(3), {"model": {}}, 7])
def test_files_without_a_state_dict_are_named(content, tmp_path):
    with pytest.raises(EmbedkitError, match=r"w\.pth: holds"):
        loaded(content, tmp_path / "w.pth")


def test_a_file_of_one_channel_makes_a_model_of_one_channel(tmp_path):
    grey = state_of(TINY, in_chans=1)
    backbone = loaded(grey, tmp_path / "w.pth")
    assert is_of(backbone, grey)
    assert backbone.preprocessing.channels == 1


def test_safetensors_are_accounted_for_too(state, tmp_path):
    save_file(wrapped(state, "model.") | {"model.head.weight": torch.ones(3)}, tmp_path / "w.safetensors")
    backbone = load_backbone(BackboneSpec(TINY, weights=tmp_path / "w.safetensors"))
    assert backbone.tensors["ignored"] == {"classifier": 1}


def test_names_within_a_trunk_are_no_leftovers():
    for name in ("blocks.0.mlp.fc1.weight", "layer1.0.conv1.weight", "norm.weight", "stages.0.head.weight"):
        assert leftover(name) is None


@pytest.mark.parametrize("name", ["w.pth", "old.pth", "w.safetensors", "w.safetensors.index.json"])
def test_tensors_are_counted_as_they_are_read(tmp_path, name):
    state = {f"blocks.{i}.weight": torch.full((2, 3), float(i)) for i in range(5)}
    path = tmp_path / name
    if name.endswith("json"):
        for half in (0, 1):
            save_file({key: state[key] for key in sorted(state)[half::2]}, tmp_path / f"{half}.safetensors")
        places = {key: f"{i % 2}.safetensors" for i, key in enumerate(sorted(state))}
        path.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    elif name.endswith("pth"):
        content = {"teacher": state, "optimizer": {"state": {0: torch.ones(3)}}, "epoch": 3}
        torch.save(content, path, _use_new_zipfile_serialization=name == "w.pth")
    else:
        save_file(state, path)
    assert n_tensors(path) == len(read_tensors(path)) == 5
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(EmbedkitError, match=path.name):
        n_tensors(path)


def test_an_archive_that_says_it_is_one_of_two_disks_is_refused_by_name(state, tmp_path):
    """Its end is that of a zip file, and so `zipfile.is_zipfile` raises instead of answering."""
    torch.save(state, tmp_path / "w.pth")
    data = (tmp_path / "w.pth").read_bytes()
    end = data.rfind(b"PK\x05\x06")
    locator = (
        b"PK\x06\x07" + (0).to_bytes(4, "little") + (0).to_bytes(8, "little") + (2).to_bytes(4, "little")
    )
    (tmp_path / "two.pth").write_bytes(data[: end - 20] + locator + data[end:])
    with pytest.raises(EmbedkitError, match=r"two.pth: not a readable checkpoint"):
        read_tensors(tmp_path / "two.pth")


def test_numbers_and_losses_beside_a_network_are_left(state, tmp_path):
    beside = {"epoch": torch.tensor(3), "best": torch.tensor([0.7]), "criterion.weight": torch.ones(10)}
    found = loaded({"state_dict": wrapped(state, "model.") | beside}, tmp_path / "w.pth")
    assert is_of(found, state)
    assert found.tensors["ignored"] == {
        "single number beside the network": 2,
        "loss or scores of training": 1,
    }


def test_the_mean_of_ema_pytorch_is_taken(state, tmp_path):
    other = wrapped(state_of(TINY, seed=6), "online_model.")
    content = other | wrapped(state, "ema_model.") | {"initted": torch.tensor(True), "step": torch.tensor(9)}
    assert is_of(loaded(content, tmp_path / "w.pth"), state)


def test_positions_of_another_rank_are_named_as_such(state, tmp_path):
    flat = state | {"pos_embed": state["pos_embed"][0]}
    with pytest.raises(EmbedkitError, match=r"pos_embed has shape \(\d+, 64\), not \(1, \d+, 64\)"):
        loaded(flat, tmp_path / "w.pth")


@pytest.mark.parametrize("told_by", ["name", "config"])
def test_a_file_named_after_another_network_is_said(told_by, tmp_path, capsys):
    asked, is_really = "efficientnet_b0", "tf_efficientnet_b0"
    state = state_of(is_really)
    if told_by == "name":
        file = tmp_path / f"{is_really}.ns_jft_in1k.pth"
    else:
        file = tmp_path / "model.pth"
        (tmp_path / "config.json").write_text(json.dumps({"architecture": is_really}))
    loaded(state, file, asked)
    said = " ".join(capsys.readouterr().err.split())
    assert f"named after {is_really}, which has the same tensors" in said
    assert f"give --backbone {is_really}" in said
    loaded(state, file, is_really)
    assert "named after" not in capsys.readouterr().err


def test_windows_are_part_of_the_architecture_unless_another_input_is_asked_for(tmp_path):
    asked, is_really = "swin_tiny_patch4_window7_224", "swin_s3_tiny_224"
    with pytest.raises(EmbedkitError, match=r"windows of 14 patches a side, not 7\. It looks like"):
        loaded(state_of(is_really), tmp_path / "w.pth", asked)
    state = state_of(asked)
    torch.save(state, tmp_path / "own.pth")
    small = Overrides(image_size=112)
    found = load_backbone(BackboneSpec(asked, weights=tmp_path / "own.pth", preprocessing=small))
    assert found.tensors["n_taken"] == len(state)


def test_one_shard_alone_is_told_from_a_network(state, tmp_path):
    half = dict(list(state.items())[: len(state) // 2])
    save_file(half, tmp_path / "model-00001-of-00002.safetensors")
    spec = BackboneSpec(TINY, weights=tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(
        EmbedkitError, match=r"are missing.*give their index, model\.safetensors\.index\.json"
    ):
        load_backbone(spec)
