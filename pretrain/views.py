"""Random views of a batch of images, in torch: one affine resampling, blur, colour, noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F  # noqa: N812 (the name that every torch reader expects)

from embedkit.images.views import BLUR_SIGMA_PX, BRIGHTNESS, SCALE, SHIFT_PX
from pretrain.noise import background, sky_noise
from pretrain.options import PretrainOptions

# Galactic extinction in SDSS i, r and g, the R, G and B of its colour images, per E(B-V) of one.
REDDENING = (1.70, 2.29, 3.30)
MAX_EBV = 0.08
RADIUS = 3


@dataclass(frozen=True)
class Preset:
    """Ranges of random views; lengths in units of the region of interest, noise in units of the image's own.

    With `own_noise` its values are drawn from the image's edge, else they are Gaussian.
    """

    zoom: tuple[float, float]
    shift: float
    rotate: bool
    reddening: bool
    jitter: float
    grey: float
    solarise: float
    blur_px: float
    noise: float
    brightness: tuple[float, float] = BRIGHTNESS
    own_noise: bool = False
    mirror: bool = True

    @classmethod
    def none(cls) -> Preset:
        """Return the one that changes nothing."""
        return cls((1.0, 1.0), 0.0, False, False, 0.0, 0.0, 0.0, 0.0, 0.0, (1.0, 1.0), mirror=False)


PRESET = {
    # What cannot change a galaxy's class, as in embedkit.images.views, and noise in units of its own
    # background's.
    "galaxy": Preset(SCALE, SHIFT_PX / 224, True, True, 0.0, 0.0, 0.0, BLUR_SIGMA_PX, 1.0),
    # For random weights: colour, noise and brightness name an image so well that a network which may use
    # them learns no shape. So they change more, and most views are grey.
    "galaxy-strong": Preset((0.6, 1.4), SHIFT_PX / 224, True, True, 0.4, 0.8, 0.0, 2.0, 3.0, (0.6, 1.4)),
    # DINO's crops of 0.4 of the area and more, jitter without hue, grey, solarise and blur.
    "natural": Preset((1.0, 1.6), 0.15, False, False, 0.4, 0.2, 0.1, 1.5, 0.0),
}
LOCAL_ZOOM = 2.0


def preset_of(options: PretrainOptions) -> Preset:
    """Return the preset that the options name, with their noise."""
    return replace(PRESET[options.view_preset], own_noise=options.noise == "sky")


@dataclass(frozen=True)
class Frames:
    """Images to draw views of.

    Parameters
    ----------
    pixels : (n, 3, h, h) uint8 or float32
    region
        The region of interest is the central square of this side.
    sky, sky_std : (n, 3) float32
        Level and noise of each image's background, from `pretrain.noise.background`.
    """

    pixels: torch.Tensor
    region: int
    sky: torch.Tensor
    sky_std: torch.Tensor

    @classmethod
    def measure(cls, pixels: torch.Tensor, region: int) -> Frames:
        """Measure the background of each image once, since every view of it asks for that."""
        return cls(pixels, region, *background(pixels))

    def take(self, rows: torch.Tensor, device: torch.device) -> Frames:
        """Return some images on a device, as float32."""
        pixels, sky, sky_std = (
            x[rows.to(x.device)].to(device) for x in (self.pixels, self.sky, self.sky_std)
        )
        return Frames(pixels.float(), self.region, sky, sky_std)

    def near(self, device: torch.device) -> Frames:
        """Return them in a card's own memory where they take at most a quarter of what is free there.

        Else each batch of them is copied to it, which binds small networks.
        """
        if device.type != "cuda" or self.pixels.nbytes > torch.cuda.mem_get_info(device)[0] / 4:
            return self
        pixels, sky, sky_std = (x.to(device) for x in (self.pixels, self.sky, self.sky_std))
        return Frames(pixels, self.region, sky, sky_std)


def make_views(
    frames: Frames,
    size: int,
    *,
    preset: Preset,
    generator: torch.Generator,
    local: bool = False,
    share: tuple[int, int] = (0, 1),
) -> torch.Tensor:
    """Draw one view of each image.

    Parameters
    ----------
    size
        Side of the views.
    generator
        On the device of the images.
    local
        A small crop: twice as near, from anywhere in the region.
    share
        The images are this one of so many equal parts of a batch; random numbers are drawn for all of it.

    Returns
    -------
    views : (b, 3, size, size) float32, 0 to 255
    """
    pixels, region = frames.pixels.float(), frames.region
    (part, parts), b, device = share, len(pixels), pixels.device

    def uniform(low: float, high: float) -> torch.Tensor:
        drawn = torch.rand(b * parts, generator=generator, device=device)
        return low + (high - low) * drawn.chunk(parts)[part]

    zoom = torch.exp(uniform(math.log(preset.zoom[0]), math.log(preset.zoom[1])))
    shift = preset.shift
    if local:
        zoom, shift = zoom * LOCAL_ZOOM, 0.25
    angle = uniform(0, 2 * math.pi) if preset.rotate else torch.zeros(b, device=device)
    flip = torch.where(uniform(0, 1) < 0.5 * preset.mirror, -1.0, 1.0)
    scale = region / pixels.shape[-1] / zoom
    cos, sin = scale * angle.cos(), scale * angle.sin()
    reach = 2 * shift * region / pixels.shape[-1]
    theta = torch.stack(
        [cos * flip, -sin, uniform(-reach, reach), sin * flip, cos, uniform(-reach, reach)], dim=1
    ).view(b, 2, 3)
    grid = F.affine_grid(theta, [b, 3, size, size], align_corners=False)
    x = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    if preset.blur_px:
        x = blur(x, uniform(0.05, preset.blur_px))
    x *= uniform(*preset.brightness)[:, None, None, None]
    if preset.reddening:
        extinction = torch.tensor(REDDENING, device=device) * uniform(-MAX_EBV, MAX_EBV)[:, None]
        x *= (10 ** (-0.4 * extinction))[:, :, None, None]
    if preset.jitter:
        x = _jitter(x, preset, uniform)
    if preset.noise:
        amount = uniform(0, preset.noise)[:, None, None, None]
        if preset.own_noise:
            place = torch.rand((b * parts, *[-(-size // 4)] * 2), generator=generator, device=device)
            own = place.chunk(parts)[part]
            x += sky_noise(pixels, frames.sky, frames.sky_std, size, own) * amount
        else:
            drawn = torch.randn((b * parts, *x.shape[1:]), generator=generator, device=device)
            x += drawn.chunk(parts)[part].mul_(frames.sky_std[:, :, None, None] * amount)
    return x.clamp_(0, 255)


def _jitter(x: torch.Tensor, preset: Preset, uniform) -> torch.Tensor:  # type: ignore[no-untyped-def]
    low, high = 1 - preset.jitter, 1 + preset.jitter
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (x - mean) * uniform(low, high)[:, None, None, None]
    grey = x.mean(dim=1, keepdim=True)
    saturation = torch.where(uniform(0, 1) < preset.grey, 0.0, uniform(low, high))
    x = grey + (x - grey) * saturation[:, None, None, None]
    solarise = (uniform(0, 1) < preset.solarise)[:, None, None, None]
    return torch.where(solarise & (x > 128), 255 - x, x)


def blur(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Convolve each image of (b, c, h, w) with a Gaussian of its own sigma in pixels; edges repeat."""
    b, c, h, w = x.shape
    offset = torch.arange(-RADIUS, RADIUS + 1, device=x.device)
    taps = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)
    taps = (taps / taps.sum(dim=1, keepdim=True)).repeat_interleave(c, dim=0)  # (b c, 7)
    flat = F.pad(x.reshape(1, b * c, h, w), (RADIUS,) * 4, mode="replicate")
    flat = F.conv2d(flat, taps[:, None, :, None], groups=b * c)
    return F.conv2d(flat, taps[:, None, None, :], groups=b * c).view(b, c, h, w)
