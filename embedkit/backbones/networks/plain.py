"""Plain convolutional networks, small enough to be trained from nothing: `embedkit_vgg` and its like.

They have what timm's networks have (``forward_features``, ``forward_head``, ``forward_intermediates``,
``feature_info``, ``group_matcher``), so that everything that takes a timm name takes theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.models import build_model_with_cfg, register_model
from timm.models._features import feature_take_indices
from torch import nn


@dataclass(frozen=True)
class Layout:
    """What is particular to one of them.

    Parameters
    ----------
    stages
        Channels of the convolutions (3 x 3, padded) of each stage. Between stages the sides are halved.
    average
        Sides of the squares of pixels that are averaged before the first convolution; 1 for none.
    grid
        Side of the grid to which the last feature map is averaged; its cells are the features.
    norm
        Batch normalisation ``after`` or ``before`` the ReLU that follows each convolution, or ``none``.
    weight_std
        Weights are drawn from a normal distribution of this standard deviation, and biases are 0. None for
        He's, by the number of outputs.
    """

    stages: tuple[tuple[int, ...], ...]
    average: int = 1
    grid: int = 1
    norm: str = "none"
    weight_std: float | None = None


def _layer(before: int, channels: int, norm: str) -> nn.Sequential:
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(before, channels, 3, padding=1, bias=norm != "before"))
    if norm == "before":
        layer.add_module("norm", nn.BatchNorm2d(channels))
    layer.add_module("act", nn.ReLU())
    if norm == "after":
        layer.add_module("norm", nn.BatchNorm2d(channels))
    return layer


class Plain(nn.Module):
    """Convolutions in stages, each half as wide and high as the one before; then features, then classes.

    Parameters
    ----------
    layout
        Its convolutions.
    num_classes
        0 for no classifier.
    in_chans
        Channels of the input.
    drop_rate
        Of the features before the classifier.
    """

    def __init__(
        self, layout: Layout, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.0
    ) -> None:
        super().__init__()
        self.layout, self.num_classes = layout, num_classes
        self.stem = nn.AvgPool2d(layout.average) if layout.average > 1 else nn.Identity()
        self.stages = nn.Sequential()
        self.feature_info: list[dict[str, Any]] = []
        before, reduction = in_chans, layout.average
        for number, widths in enumerate(layout.stages):
            stage = nn.Sequential()
            if number:
                stage.add_module("down", nn.MaxPool2d(2))
                reduction *= 2
            for index, channels in enumerate(widths):
                stage.add_module(f"layer{index}", _layer(before, channels, layout.norm))
                before = channels
            self.stages.append(stage)
            info = {"num_chs": before, "reduction": reduction, "module": f"stages.{number}"}
            self.feature_info.append(info)
        # VGG halves after its last convolution too.
        self.last_pool = nn.MaxPool2d(2)
        self.pool = nn.AdaptiveAvgPool2d(layout.grid)
        self.drop = nn.Dropout(drop_rate)
        self.num_features = before
        self.head_hidden_size = before * layout.grid**2
        self.head: nn.Module = nn.Identity()
        self.reset_classifier(num_classes)
        self.apply(self._draw)

    def _draw(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            if self.layout.weight_std is not None:
                nn.init.normal_(module.weight, std=self.layout.weight_std)
            elif isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Say which parameters make a stage, or a layer, in timm's words."""
        return {"stem": r"^stem", "blocks": r"^stages\.(\d+)" + ("" if coarse else r"\.layer(\d+)")}

    def get_classifier(self) -> nn.Module:
        """Return the last linear layer."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:  # noqa: ARG002
        """Put a new linear layer last, or none for 0 classes. There is one kind of pooling."""
        self.num_classes = num_classes
        self.head = nn.Linear(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()

    def forward_intermediates(
        self,
        x: torch.Tensor,
        indices: int | list[int] | None = None,
        *,
        norm: bool = False,  # noqa: ARG002 - of networks with a last one
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> Any:
        """Return the feature maps of stages, and after them what `forward_features` returns, as timm does."""
        if output_fmt != "NCHW":
            raise ValueError(f"output_fmt {output_fmt}: feature maps are NCHW.")
        wanted, last = feature_take_indices(len(self.stages), indices)
        maps, x = [], self.stem(x)
        for index, stage in enumerate(self.stages):
            if stop_early and index > last:
                break
            x = stage(x)
            if index in wanted:
                maps.append(x)
        return maps if intermediates_only else (self.last_pool(x), maps)

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        """Return the last feature map."""
        found: torch.Tensor = self.last_pool(self.stages(self.stem(x)))
        return found

    def forward_head(self, x: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """Return features (b, d), or what the classifier makes of them."""
        pooled: torch.Tensor = self.drop(self.pool(x).flatten(1))
        return pooled if pre_logits else self.head(pooled)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return what the classifier gives; features (b, d) where there is none."""
        return self.forward_head(self.forward_features(x))


def _half(size: int) -> dict[str, Any]:
    """Configuration of a network whose input is the whole image with pixels in [-1, 1]."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, size, size),
        "pool_size": None,
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "first_conv": "stages.0.layer0.conv",
        "classifier": "head",
    }


LAYOUTS: dict[str, Layout] = {
    # The eight convolutions of VGG11, each of 32 channels.
    "embedkit_vgg": Layout(
        stages=((32,), (32,), (32, 32), (32, 32), (32, 32)), grid=7, norm="none", weight_std=0.1
    ),
    # Half as many, after an average that takes noise out and lets each see four times as far.
    "embedkit_cnn": Layout(stages=((32,), (32,), (32,), (32,)), average=4, grid=4, norm="after"),
    # For the 37 votes: details are few at 77 pixels, and kinds of them many.
    "embedkit_votes_cnn": Layout(stages=((32, 32), (64, 64), (128, 128), (192, 192)), grid=1, norm="before"),
}
SIZES = {"embedkit_vgg": 256, "embedkit_cnn": 256, "embedkit_votes_cnn": 77}
OWN: Sequence[str] = tuple(LAYOUTS)
default_cfgs = {name: _half(size) for name, size in SIZES.items()}


def _entry(name: str) -> Callable[..., Any]:
    def make(pretrained: bool = False, **kwargs: Any) -> Any:
        return build_model_with_cfg(Plain, name, pretrained, layout=LAYOUTS[name], **kwargs)

    make.__name__ = name
    make.__doc__ = f"Make `{name}`, as timm does."
    return make


for _name in OWN:
    register_model(_entry(_name))
