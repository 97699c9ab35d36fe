"""A batch in parts trains what the whole batch trains."""

import pytest
import torch

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from pretrain.options import PretrainOptions
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

SPEC = BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))


def train(folder, parts, centering):
    frames = torch.randint(0, 255, (24, 3, 40, 40), dtype=torch.uint8, generator=torch.manual_seed(0))
    options = PretrainOptions(
        batch_size=8, held_out=8, epochs=3, local_views=1, local_size=32, prototypes=16, lr=1e-3, device="cpu"
    )
    options = PretrainOptions(**options.__dict__ | {"accumulate": parts, "centering": centering})
    run = Run(WithoutLabels(load_backbone(SPEC), frames, options), folder)
    return run, [row["loss"] for row in run.train().log if "loss" in row]


def center(run):
    return run.objective.criterion.center


@pytest.mark.parametrize("centering", ["mean", "sinkhorn"])
def test_four_parts_give_the_losses_of_one_batch(centering, tmp_path, monkeypatch):
    monkeypatch.setattr("pretrain.objective.native_bf16", lambda _: False)
    whole, losses = train(tmp_path / "whole", 1, centering)
    parts, found = train(tmp_path / "parts", 4, centering)
    assert found == pytest.approx(losses, abs=1e-5)
    assert len(set(losses)) == 3
    torch.testing.assert_close(center(parts), center(whole))
    assert (center(whole).abs().max() > 0) == (centering == "mean")


def test_what_needs_the_whole_batch_is_refused():
    with pytest.raises(UsageError, match="--accumulate 3 does not divide --batch-size 8"):
        PretrainOptions(batch_size=8, accumulate=3)
    with pytest.raises(UsageError, match="--accumulate with vicreg: it compares the images of a whole batch"):
        PretrainOptions(method="vicreg", accumulate=2)
    with pytest.raises(UsageError, match="--accumulate with --koleo"):
        PretrainOptions(koleo=0.1, accumulate=2)
    with pytest.raises(UsageError, match="--centering median: unknown"):
        PretrainOptions(centering="median")
