"""Which layer of a network is looked at, and how its outputs become a map: from timm's own description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from embedkit.backbones.network import Network
from embedkit.errors import UsageError


@dataclass(frozen=True)
class Layer:
    """A layer whose outputs lie on a grid over the image.

    Parameters
    ----------
    name
        Of the module in the backbone, such as ``layer4`` or ``blocks.11.norm1``.
    rows, columns
        Of the grid.
    n_prefix
        Tokens before those of the patches, of outputs that are tokens.
    channels_last
        Whether outputs are (b, rows, columns, d).
    """

    name: str
    rows: int
    columns: int
    n_prefix: int = 0
    channels_last: bool = False

    def module(self, network: Network) -> torch.nn.Module:
        """Return the layer of a network of this architecture."""
        return network.backbone.get_submodule(self.name)

    def __call__(self, output: torch.Tensor) -> torch.Tensor:
        """Return (b, d, rows, columns) from what the layer gives."""
        if output.ndim == 3:
            patches = output[:, self.n_prefix :]
            grid = patches.reshape(len(patches), self.rows, self.columns, -1)
            return grid.permute(0, 3, 1, 2)
        # A copy: what follows may change the layer's output in its place.
        return output.permute(0, 3, 1, 2) if self.channels_last else output.clone()


def target_layer(network: Network, name: str, size: int, channels: int) -> Layer:
    """Return the last layer that timm describes on whose every place in the image the outputs depend.

    Of a convolutional network that is the last stage. Of a transformer whose head reads the class token alone
    it is what the last block reads: after it, patches have no say any more.

    Parameters
    ----------
    network
        In evaluation mode.
    name
        Of the backbone, for messages.
    size, channels
        Of its input.

    Raises
    ------
    UsageError
        The backbone doesn't describe its layers, or none of them has outputs on a grid.
    """
    model: Any = network.backbone
    described = _described(model)
    for info, place in _candidates(model, described):
        output, gradient = _seen(network, place, size, channels)
        layer = None if output is None else _layer(model, info, place, output, size)
        if layer is None or gradient is None:
            continue
        if output is not None and output.ndim == 4:  # every place has passed the same pooling
            return layer
        if (layer(gradient) != 0).any(dim=1).float().mean() > 0.5:
            return layer
    raise UsageError(
        f"{name} describes no layer whose outputs lie on a grid over the image, so there is nothing to map. "
        "Train another --backbone, such as a ResNet, ConvNeXt or ViT of timm."
    )


def _described(model: Any) -> list[Mapping[str, Any]]:
    info = getattr(model, "feature_info", None)
    return list(info if isinstance(info, Sequence) else getattr(info, "info", None) or ())


def _candidates(model: Any, described: Sequence[Mapping[str, Any]]) -> list[tuple[Mapping[str, Any], str]]:
    """Return descriptions and module names, the last first; within a block its first norm comes after it."""
    known = {name for name, _ in model.named_modules()}
    places = [(info, f"{info.get('module')}{end}") for info in reversed(described) for end in ("", ".norm1")]
    return [(info, place) for info, place in places if place in known]


def _seen(
    network: Network, place: str, size: int, channels: int
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Return what a layer gives for an image of noise, and the gradient of the outputs there."""
    kept: list[torch.Tensor] = []
    hook = network.backbone.get_submodule(place).register_forward_hook(
        lambda _module, _input, output: kept.append(output)
    )
    drawn = torch.Generator().manual_seed(0)
    device = next(network.parameters()).device
    x = torch.randn(1, channels, size, size, generator=drawn).to(device).requires_grad_()
    try:
        raw = network(x)
    finally:
        hook.remove()
    if len(kept) != 1 or not isinstance(kept[0], torch.Tensor) or kept[0].ndim not in (3, 4):
        return None, None
    (gradient,) = torch.autograd.grad(raw.square().sum(), kept[0], allow_unused=True)
    return kept[0].detach(), gradient


def _layer(model: Any, info: Mapping[str, Any], place: str, output: torch.Tensor, size: int) -> Layer | None:
    """Return how an output is laid out, or nothing where it has no grid."""
    if output.ndim == 4:
        last = getattr(model, "output_fmt", "NCHW") == "NHWC"
        rows, columns = output.shape[1:3] if last else output.shape[2:]
        return Layer(place, int(rows), int(columns), channels_last=last)
    grids = [getattr(getattr(model, "patch_embed", None), "grid_size", None)]
    if info.get("reduction"):
        side = -(-size // int(info["reduction"]))
        grids.append((side, side))
    prefix = int(getattr(model, "num_prefix_tokens", None) or 0)
    for grid in grids:
        if grid is not None and output.shape[1] - grid[0] * grid[1] in (0, prefix):
            return Layer(place, int(grid[0]), int(grid[1]), int(output.shape[1] - grid[0] * grid[1]))
    return None
