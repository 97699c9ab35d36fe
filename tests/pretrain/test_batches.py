"""The views of a step: the same whoever draws them, and at the sizes that a network takes."""

import pytest
import torch

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from pretrain.batches import ViewBatches
from pretrain.noise import background, sky_noise
from pretrain.options import PretrainOptions
from pretrain.sizes import take_crops
from pretrain.views import Frames
from pretrain.without_labels import WithoutLabels

PIXELS = torch.randint(0, 255, (24, 3, 40, 40), dtype=torch.uint8, generator=torch.manual_seed(0))
SPEC = BackboneSpec("vit_tiny_patch16_224", random_init=0, preprocessing=Overrides(image_size=32, resize=32))
CPU = torch.device("cpu")


def make(preset, noise="gaussian", **more):
    preprocessing = load_backbone(SPEC).preprocessing
    options = PretrainOptions(batch_size=8, view_preset=preset, noise=noise, local_views=1, local_size=16)
    return ViewBatches(
        Frames.measure(PIXELS, 32), torch.arange(24), options, preprocessing, device=CPU, **more
    )


@pytest.mark.parametrize("preset", [("galaxy",), ("galaxy", "sky"), ("galaxy-strong",), ("natural",)])
def test_a_step_has_its_own_views_whoever_draws_them(preset):
    whole = make(*preset)
    batches = [whole.make(step) for step in range(4)]
    later = list(whole.ahead(2, 4))
    for batch, again in zip(batches[2:], later, strict=True):
        assert torch.equal(batch.views[0], again.views[0])
    assert not torch.equal(batches[0].views[0], batches[0].views[1])
    assert batches[0].small[0].shape == (8, 3, 16, 16)
    for step, batch in enumerate(batches):
        halves = [make(*preset, share=(part, 2)).make(step) for part in range(2)]
        for whole_views, *parts in zip(
            batch.views + batch.small, *(half.views + half.small for half in halves), strict=True
        ):
            torch.testing.assert_close(torch.cat(parts), whole_views)


def test_a_vit_takes_crops_and_is_what_it_was_at_its_own_size():
    model = load_backbone(SPEC).model
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        before = model(x)
        take_crops(model, 16, "vit")
        assert torch.equal(model(x), before)
        assert model(x[..., :16, :16]).shape == before.shape


def test_a_crop_that_does_not_fit_is_refused():
    options = PretrainOptions(batch_size=8, held_out=8, local_size=20, device="cpu")
    with pytest.raises(UsageError, match=r"--local-size 20: .* can't take it .*Give --local-size 16, or"):
        WithoutLabels(load_backbone(SPEC), PIXELS, options)


def test_sky_noise_is_made_of_the_edge_of_its_own_image():
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (2, 3, 40, 40), generator=random).float()
    pixels[0, :, 4:-4] = 255.0  # the galaxy, brighter than all of its sky
    pixels[1] = 7.0
    sky, std = background(pixels)
    noise = sky_noise(pixels, sky, std, 30, torch.rand(2, 8, 8, generator=random))
    assert noise.shape == (2, 3, 30, 30)
    assert noise[1].abs().max() == 0
    edges = [pixels[0, :, :4], pixels[0, :, -4:]]
    blocks = torch.cat([edge.unfold(2, 4, 1) for edge in edges], dim=2) - sky[0, :, None, None, None]
    first = noise[0, :, 4:8, 8:12]  # (3, 4, 4): one place in all colours at once
    assert (blocks.permute(2, 0, 1, 3) == first).flatten(1).all(dim=1).any()
    assert float(noise[0].std()) == pytest.approx(float(torch.cat(edges).std()), rel=0.1)
    pixels[0, :, 0, 0] = 1e4  # a star
    assert sky_noise(pixels, sky, std, 30, torch.zeros(2, 8, 8)).max() <= 3 * std.max()
