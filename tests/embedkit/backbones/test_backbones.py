import argparse
import json
import pickle
import socket
import threading
import time
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from embedkit.backbones.checkpoints.digest import state_sha256
from embedkit.backbones.checkpoints.fitting import fit
from embedkit.backbones.checkpoints.reading import read_tensors
from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.backbones.pooling import Pooling
from embedkit.errors import EmbedkitError, UsageError
from embedkit.images.options import Overrides

TINY = "test_vit"  # timm's own miniature: 6 blocks of 64 dimensions, 160 px
SMALL_INPUT = Overrides(image_size=32, resize=32)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    return timm.create_model(TINY, num_classes=0).state_dict()


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


CONTAINERS = {
    "timm.safetensors": lambda s: s,
    "timm.pth": lambda s: s,
    "classifier.pth": lambda s: s | {"head.weight": torch.zeros(5, 64), "head.bias": torch.zeros(5)},
    "dino-teacher.pth": lambda s: {
        "student": {f"module.backbone.{k}": torch.zeros_like(v) for k, v in s.items()},
        "teacher": {f"backbone.{k}": v for k, v in s.items()} | {"head.mlp.0.weight": torch.zeros(3)},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_tiny", lr=0.1),
    },
    "student.pth": lambda s: {"student": {f"module.backbone.{k}": v for k, v in s.items()}, "epoch": 3},
    "ddp.pth": lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}},
    "model.pth": lambda s: {"model": s},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_weights_are_found_in_every_container(name, state, tmp_path):
    path = save(CONTAINERS[name](state), tmp_path / name)
    backbone = load_backbone(BackboneSpec(TINY, weights=path))
    assert backbone.weights_sha256 == state_sha256(state)
    assert backbone.source == name


def test_fp16_weights_become_float32(state, tmp_path):
    path = save({k: v.half() for k, v in state.items()}, tmp_path / "half.safetensors")
    model = load_backbone(BackboneSpec(TINY, weights=path)).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_position_embedding_is_resampled_to_another_input(state, tmp_path):
    path = save(state, tmp_path / "w.pth")
    backbone = load_backbone(BackboneSpec(TINY, weights=path, preprocessing=Overrides(image_size=64)))
    assert backbone.preprocessing.image_size == 64
    assert backbone.model.pos_embed.shape[1] == 1 + 16


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def test_a_weights_file_is_never_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(EmbedkitError, match=r"bomb\.pth: refused.*safetensors"):
        load_backbone(BackboneSpec(TINY, weights=tmp_path / "bomb.pth"))
    (tmp_path / "bare.pth").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(EmbedkitError, match=r"bare\.pth"):
        load_backbone(BackboneSpec(TINY, weights=tmp_path / "bare.pth"))
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "empty.pth", "not a readable checkpoint|refused"),
        (b"hello", "text.safetensors", "not a readable safetensors"),
        (b"PK\x03\x04broken", "zip.pth", "not a readable checkpoint|refused"),
    ],
)
def test_broken_weights_files_are_named(content, name, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(EmbedkitError, match=message) as error:
        load_backbone(BackboneSpec(TINY, weights=tmp_path / name))
    assert name in str(error.value)


def test_missing_and_misfitting_weights(state, tmp_path):
    with pytest.raises(EmbedkitError, match="no such weights file"):
        load_backbone(BackboneSpec(TINY, weights=tmp_path / "none.pth"))
    part = {k: v for k, v in state.items() if "blocks.5" not in k}
    with pytest.raises(EmbedkitError, match=r"tensors are missing, such as blocks\.5.*--backbone"):
        load_backbone(BackboneSpec(TINY, weights=save(part, tmp_path / "part.pth")))
    with pytest.raises(EmbedkitError, match="not the weights of test_vit2"):
        load_backbone(BackboneSpec("test_vit2", weights=save(state, tmp_path / "tiny.pth")))


def test_unknown_names_get_close_ones():
    with pytest.raises(UsageError, match="unknown backbone 'test_vitt'.*test_vit"):
        load_backbone(BackboneSpec("test_vitt"))
    with pytest.raises(UsageError, match="no weights called 'dinosaur'"):
        load_backbone(BackboneSpec("vit_small_patch16_224.dinosaur"))
    with pytest.raises(UsageError, match="exclude each other"):
        load_backbone(BackboneSpec(TINY, weights="x", random_init=0))
    with pytest.raises(EmbedkitError, match=r"no config\.json"):
        load_backbone(BackboneSpec("local-dir:nowhere"))


def test_random_init_is_its_seed():
    first, again, other = (load_backbone(BackboneSpec(TINY, random_init=s)).weights_sha256 for s in (0, 0, 1))
    assert first == again != other


def test_dino_keeps_its_published_preprocessing():
    own = load_backbone(BackboneSpec(random_init=0)).preprocessing
    assert (own.resize, own.image_size, own.interpolation) == (256, 224, "bicubic")
    assert own.mean == (0.485, 0.456, 0.406)


def test_local_dir(tmp_path, state):
    model = timm.create_model(TINY, num_classes=0)
    model.load_state_dict(state)
    save_file(state, tmp_path / "model.safetensors")
    config = {"architecture": TINY, "num_classes": 0, "pretrained_cfg": model.pretrained_cfg}
    (tmp_path / "config.json").write_text(json.dumps(config))
    backbone = load_backbone(BackboneSpec(f"local-dir:{tmp_path}"))
    assert backbone.weights_sha256 == state_sha256(state)


def test_an_adapter_with_zero_b_changes_nothing_and_a_trained_one_does(state, tmp_path):
    from peft import LoraConfig, get_peft_model

    weights = save(state, tmp_path / "w.pth")
    base = load_backbone(BackboneSpec(TINY, weights=weights, preprocessing=SMALL_INPUT))
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    pooling = Pooling.choose(base)
    frozen = pooling(base, x)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["qkv"])
    torch.manual_seed(0)
    adapted = get_peft_model(timm.create_model(TINY, num_classes=0), config)
    for trained in (False, True):
        if trained:
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.normal_(parameter, std=0.1)
        folder = tmp_path / f"adapter{trained}"
        adapted.save_pretrained(folder)
        spec = BackboneSpec(TINY, weights=weights, adapter=folder, preprocessing=SMALL_INPUT)
        backbone = load_backbone(spec)
        assert backbone.weights_sha256 == base.weights_sha256
        assert backbone.adapter_sha256
        assert torch.equal(pooling(backbone, x), frozen) is not trained


def test_adapters_that_do_not_fit(tmp_path):
    with pytest.raises(EmbedkitError, match=r"no adapter_config\.json"):
        load_backbone(BackboneSpec(TINY, random_init=0, adapter=tmp_path))
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(
        timm.create_model("test_vit2", num_classes=0), LoraConfig(r=2, target_modules=["qkv"])
    )
    model.save_pretrained(tmp_path)
    with pytest.raises(EmbedkitError, match="does not fit test_vit"):
        load_backbone(BackboneSpec(TINY, random_init=0, adapter=tmp_path))
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "test_vit2"
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(EmbedkitError, match="trained on test_vit2"):
        load_backbone(BackboneSpec(TINY, random_init=0, adapter=tmp_path))


@pytest.fixture
def silent_hub():
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def hold():
            while True:
                try:
                    held.append(server.accept()[0])
                except OSError:
                    return

        threading.Thread(target=hold, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()


@pytest.mark.parametrize("kind", ["silent", "refused", "unknown host"])
def test_an_unreachable_hub_is_said_within_15_seconds(kind, silent_hub, monkeypatch, tmp_path):
    import huggingface_hub.constants as hub

    endpoint = {"silent": silent_hub, "refused": "http://127.0.0.1:9", "unknown host": "http://hub.invalid"}
    monkeypatch.setattr(hub, "ENDPOINT", endpoint[kind])
    monkeypatch.setattr(hub, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(EmbedkitError, match="--weights FILE.*local-dir:FOLDER.*embedkit-galaxy") as error:
        load_backbone(BackboneSpec())
    assert time.monotonic() - started < 15
    assert str(tmp_path) in str(error.value)  # the cache is named


@pytest.mark.parametrize(
    ("layers", "expected"),
    [(None, (2, 3, 4, 5)), ("1", (5,)), ("b4", (4,)), ("b1-b3", (1, 2, 3)), ("b3,b5", (3, 5))],
)
def test_layers(layers, expected, tiny):
    assert Pooling.choose(load_backbone(tiny), layers=layers).layers == expected


@pytest.mark.parametrize("layers", ["0", "7", "b6", "b5-b3", "b3,b3", "5,6", "last"])
def test_bad_layers(layers, tiny):
    with pytest.raises(UsageError, match="--layers"):
        Pooling.choose(load_backbone(tiny), layers=layers)


def test_cls_of_the_last_four_blocks_is_what_a_hook_sees(tiny):
    backbone = load_backbone(tiny)
    x = torch.randn(3, 3, 32, 32)
    seen = []
    for block in backbone.model.blocks[-4:]:
        block.register_forward_hook(lambda _module, _input, output: seen.append(output))
    features = Pooling.choose(backbone)(backbone, x)
    by_hand = torch.cat([backbone.model.norm(output)[:, 0] for output in seen[:4]], dim=1)
    assert features.shape == (3, 4 * 64)
    torch.testing.assert_close(features, by_hand)
    patch = Pooling.choose(backbone, pool="cls+patch", layers="1")(backbone, x)
    last = backbone.model.norm(seen[3])
    torch.testing.assert_close(patch, torch.cat([last[:, 0], last[:, 1:].mean(1)], 1))


@pytest.mark.parametrize(
    ("name", "pool"),
    [
        ("test_vit", "cls"),
        ("eva02_tiny_patch14_224", "model"),  # mean and fc_norm, beside a CLS token
        ("deit_tiny_distilled_patch16_224", "model"),  # two tokens
        ("cait_xxs24_224", "model"),  # a CLS token only after the blocks
        ("xcit_nano_12_p16_224", "model"),
    ],
)
def test_auto_reads_what_the_models_own_head_reads(name, pool):
    backbone = load_backbone(BackboneSpec(name, random_init=0))
    chosen = Pooling.choose(backbone)
    assert (backbone.has_cls, chosen.pool) == (True, pool)
    side = backbone.preprocessing.image_size
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = backbone.model(x)  # timm's own, without a classifier
        found = chosen(backbone, x)
    torch.testing.assert_close(found[:, -expected.shape[1] :], expected, atol=1e-5, rtol=1e-5)


def test_a_cls_token_that_comes_after_the_blocks_is_named():
    backbone = load_backbone(BackboneSpec("xcit_nano_12_p16_224", random_init=0))
    with pytest.raises(UsageError, match="--pool cls: xcit_.* has its CLS token only after its blocks"):
        Pooling.choose(backbone, pool="cls")


def test_cnn_pooling():
    backbone = load_backbone(BackboneSpec("test_resnet", random_init=0))
    x = torch.randn(2, 3, 64, 64)
    own = Pooling.choose(backbone)
    assert own.pool == "model"
    torch.testing.assert_close(own(backbone, x), backbone.model(x))
    assert Pooling.choose(backbone, pool="avg", layers="2")(backbone, x).shape == (
        2,
        sum(f["num_chs"] for f in backbone.model.feature_info[-2:]),
    )
    with pytest.raises(UsageError, match="no CLS token"):
        Pooling.choose(backbone, pool="cls")
    with pytest.raises(UsageError, match="no patch tokens"):
        Pooling.choose(backbone, pool="patch")
    with pytest.raises(UsageError, match="unknown. Known: auto, cls"):
        Pooling.choose(backbone, pool="max")


def test_original_dino_file_names_fit_timm(tmp_path):
    # facebookresearch/dino saves dino_deitsmall16_pretrain.pth with exactly these names and no prefix.
    model = timm.create_model("vit_small_patch16_224.dino", num_classes=0)
    assert {
        "cls_token",
        "pos_embed",
        "patch_embed.proj.weight",
        "blocks.0.attn.qkv.bias",
        "norm.weight",
    } <= set(model.state_dict())
    path = save(model.state_dict(), tmp_path / "dino_deitsmall16_pretrain.pth")
    fit(model, read_tensors(path), path)
