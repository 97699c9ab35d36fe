"""Attention maps: the network's own numbers, drawn."""

import numpy as np
import pytest
import torch
from PIL import Image

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.cli import main
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from reports.attention import attention_entropy, attention_maps, attention_sheet

PRE = Overrides(image_size=64, resize=64)
PIXELS = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3), dtype=np.uint8)


def test_the_maps_are_the_softmax_of_the_last_blocks_queries_and_keys():
    backbone = load_backbone(BackboneSpec("vit_tiny_patch16_224", random_init=0, preprocessing=PRE))
    maps = attention_maps(backbone, PIXELS)
    assert maps.shape == (2, 3, 4, 4)
    model, pre = backbone.model, backbone.preprocessing
    x = (torch.from_numpy(PIXELS).permute(0, 3, 1, 2) / 255 - torch.tensor(pre.mean)[:, None, None]) / (
        torch.tensor(pre.std)[:, None, None]
    )
    block = model.blocks[-1]
    with torch.no_grad():
        *_, tokens = model.forward_intermediates(
            x, indices=[10], norm=False, return_prefix_tokens=True, intermediates_only=True, output_fmt="NLC"
        )
        tokens = torch.cat([tokens[1], tokens[0]], dim=1)
        q, k, _ = block.attn.qkv(block.norm1(tokens)).reshape(2, 17, 3, 3, 64).permute(2, 0, 3, 1, 4)
        expected = torch.softmax(q @ k.transpose(2, 3) / 8, dim=-1)[:, :, 0, 1:].reshape(2, 3, 4, 4)
    np.testing.assert_allclose(maps, expected, rtol=1e-4)
    assert block.attn.fused_attn  # left as it was
    assert maps.sum(axis=(2, 3)).max() < 1  # the class token keeps the rest


def test_entropy_tells_a_point_from_everywhere():
    maps = np.zeros((3, 2, 4, 4), np.float32)
    maps[:, 0, 1, 2] = 0.5
    maps[:, 1] = 0.01
    np.testing.assert_allclose(attention_entropy(maps), [0, 1], atol=1e-9)


def test_a_row_of_heads_for_each_network():
    maps = [
        np.ones((2, 3, 4, 4), np.float32),
        np.eye(4, dtype=np.float32)[None, None].repeat(2, 0).repeat(3, 1),
    ]
    sheet = np.asarray(attention_sheet(PIXELS, maps, ["before", "after"]))
    assert sheet.shape == (22 + 4 * 132, 22 + 4 * 132, 3)
    cell = sheet[22 + 132 : 22 + 132 + 128, 22 + 132 : 22 + 132 + 128]
    assert tuple(cell[5, 5]) == (252, 255, 164)  # the diagonal of "after"
    assert tuple(cell[5, 120]) == (0, 0, 4)


def test_a_network_without_class_token_is_refused():
    cnn = load_backbone(BackboneSpec("test_resnet", random_init=0, preprocessing=PRE))
    with pytest.raises(UsageError, match="test_resnet has no class token with attention to look at"):
        attention_maps(cnn, PIXELS)


def test_the_command_draws_before_and_after(tmp_path, capsys):
    for i, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    base = load_backbone(BackboneSpec("test_vit", random_init=0)).model
    torch.save(base.state_dict(), tmp_path / "old.pth")
    line = ["attention", str(tmp_path), "--backbone", "test_vit", "--image-size", "64"]
    out = tmp_path / "runs" / "attention.png"
    two = ["--weights", str(tmp_path / "old.pth"), "--before", str(tmp_path / "old.pth"), "-o", str(out)]
    assert main([*line, *two]) == 0
    said = capsys.readouterr().err
    before, after = (part.split(":")[1].split(".\n")[0] for part in said.split("attention, ")[1:3])
    assert before == after
    with Image.open(out) as sheet:
        assert sheet.height == 22 + 4 * 132
    assert main([*line, "--random-init", "0", "--before", str(tmp_path / "old.pth")]) == 2
    assert "--before is compared with --weights" in capsys.readouterr().err


def test_the_call_gives_maps_entropies_and_the_picture(tmp_path, capsys):
    import embedkit

    how = {"n": 12, "size": 32, "backbone": "vit_tiny_patch16_224", "random_init": 0, "image_size": 32}
    found = embedkit.attention("simulated", tmp_path / "a.png", **how, n_images=2)
    assert capsys.readouterr().out == ""
    assert found.maps[""].shape == (2, 3, 2, 2)
    assert found.entropy[""].shape == (3,)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == found.image.size
    assert found._repr_png_().startswith(b"\x89PNG")
    assert embedkit.attention("simulated", **how, n_images=1).path is None
    with pytest.raises(UsageError, match="--before is compared with --weights"):
        embedkit.attention("simulated", **how, before="w.safetensors")


@pytest.mark.parametrize("name", ["cait_xxs24_224", "xcit_nano_12_p16_224"])
def test_a_class_token_that_joins_after_the_blocks_is_refused_by_name(name):
    backbone = load_backbone(BackboneSpec(name, random_init=0))
    pixels = np.zeros((1, 224, 224, 3), np.uint8)
    with pytest.raises(UsageError, match=f"{name}: its last block has no attention from a class token"):
        attention_maps(backbone, pixels)
