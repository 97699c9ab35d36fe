"""Tokens and feature maps -> one vector an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

import torch

from embedkit.backbones.load import Backbone, load_backbone, resolved
from embedkit.backbones.naming import HUB
from embedkit.backbones.options import PIXELS, POOLS, BackboneSpec, parse_layers
from embedkit.backbones.shipped import SHIPPED
from embedkit.errors import UsageError


@dataclass(frozen=True)
class Pooling:
    """Which outputs of a backbone make its feature vector.

    Parameters
    ----------
    pool
        One of `POOLS`.
    layers
        Blocks (ViT) or stages (CNN), counted from 0, in the order of concatenation. Each passes through
        the model's final norm where it has one, as in DINO's evaluation.
    """

    pool: str
    layers: tuple[int, ...]

    @classmethod
    def choose(cls, backbone: Backbone, *, pool: str = "auto", layers: str | None = None) -> Pooling:
        """Resolve what was asked for against what the backbone has.

        Parameters
        ----------
        pool
            ``auto`` or one of `POOLS`. ``auto`` is ``cls`` where the model's own head reads the CLS token and
            nothing else, else ``model``.
        layers
            ``4`` for the last four, or blocks by number: ``b8``, ``b5-b8``, ``b3,b7,b11``. By default the
            last 4 for ``cls`` (DINO's linear protocol), else the last one; of a backbone that comes with
            embedkit what its card says.
        """
        if pool == "auto":
            pool = "cls" if _gives_cls(backbone) and _head_reads_cls(backbone.model) else "model"
        if pool not in POOLS:
            raise UsageError(f"--pool {pool}: unknown. Known: auto, {', '.join(POOLS)}.")
        if pool in ("cls", "cls+patch") and not backbone.has_cls:
            raise UsageError(f"--pool {pool}: {backbone.name} has no CLS token. Give --pool avg or model.")
        if pool in ("cls", "cls+patch") and not _gives_cls(backbone):
            raise UsageError(
                f"--pool {pool}: {backbone.name} has its CLS token only after its blocks. Give --pool avg or "
                "model."
            )
        if pool == "patch" and not _gives_tokens(backbone):
            raise UsageError(f"--pool patch: {backbone.name} has no patch tokens. Give --pool avg or model.")
        if pool == "model" and layers not in (None, "1"):
            raise UsageError("--pool model is the last layer's: leave out --layers.")
        n = backbone.n_blocks
        if layers is None and backbone.name in SHIPPED:
            layers = SHIPPED[backbone.name].layers
        elif layers is None:
            layers = str(min(4, n)) if pool == "cls" else "1"
        return cls(pool, _parse_layers(layers, n, backbone.name))

    @property
    def name(self) -> str:
        """Short name, such as ``cls b8-b11``."""
        if self.pool == "model":
            return "model"
        first, last = self.layers[0], self.layers[-1]
        if self.layers == tuple(range(first, last + 1)) and len(self.layers) > 1:
            return f"{self.pool} b{first}-b{last}"
        return f"{self.pool} " + ",".join(f"b{layer}" for layer in self.layers)

    def record(self) -> dict[str, Any]:
        """Return what the provenance keeps."""
        return {"pool": self.pool, "layers": list(self.layers)}

    def __call__(self, backbone: Backbone, x: torch.Tensor) -> torch.Tensor:
        """Return (b, d) float32 from normalised input (b, 3, s, s)."""
        model: Any = backbone.model
        if self.pool == "model":
            if not hasattr(model, "forward_features"):
                return model(x).float()  # type: ignore[no-any-return]
            return _head(model, model.forward_features(x)).float()
        if _gives_tokens(backbone):
            outputs = model.forward_intermediates(
                x,
                indices=list(self.layers),
                return_prefix_tokens=backbone.n_prefix_tokens > 0,  # of none, timm gives no pairs, or fails
                norm=True,
                stop_early=True,
                output_fmt="NLC",
                intermediates_only=True,
            )
            if backbone.n_prefix_tokens:
                vectors = [self._tokens(patches, prefix) for patches, prefix in outputs]
            else:
                vectors = [patches.float().mean(dim=1) for patches in outputs]
        elif hasattr(model, "forward_intermediates"):
            maps = model.forward_intermediates(
                x, indices=list(self.layers), stop_early=True, output_fmt="NCHW", intermediates_only=True
            )
            vectors = [m.float().mean(dim=(2, 3)) for m in maps]
        else:
            vectors = [model(x).float()]
        return torch.cat(vectors, dim=1)

    def _tokens(self, patches: torch.Tensor, prefix: torch.Tensor) -> torch.Tensor:
        # (b, p, d) and (b, prefix, d); registers follow the CLS token and carry no image content.
        if self.pool == "cls":
            return prefix[:, 0].float()
        mean = patches.float().mean(dim=1)
        return mean if self.pool in ("patch", "avg") else torch.cat([prefix[:, 0].float(), mean], dim=1)


def check_pooling(spec: BackboneSpec, *, pool: str, layers: str | None) -> None:
    """Refuse a pooling, layers or an input size that a network doesn't have, where one was asked for.

    The network is built and no weights of it are read; one of a hub that is not timm's has to be asked for,
    and is left.
    """
    asked = pool != "auto" or layers is not None or spec.preprocessing.image_size is not None
    if not asked or spec.backbone.startswith(HUB):
        return
    if not spec.backbone.startswith(PIXELS):
        spec = replace(resolved(spec), weights=None, adapter=None, random_init=0)
    Pooling.choose(load_backbone(spec), pool=pool, layers=layers)


def _gives_tokens(backbone: Backbone) -> bool:
    """Whether its blocks can be asked for prefix tokens; not of CaiT, XCiT and ConViT, which add one late."""
    forward = getattr(backbone.model, "forward_intermediates", None)
    return backbone.is_vit and forward is not None and "return_prefix_tokens" in signature(forward).parameters


def _gives_cls(backbone: Backbone) -> bool:
    return backbone.has_cls and _gives_tokens(backbone)


def _head(model: Any, features: torch.Tensor) -> torch.Tensor:
    """(b, d): what the model's classifier would read."""
    pooled: torch.Tensor = model.forward_head(features, pre_logits=True)
    return pooled.flatten(1)


def _head_reads_cls(model: Any) -> bool:
    """Whether the head passes the CLS token on as it is: asked with tokens drawn at random.

    EVA02 and BEiT have a CLS token and read the mean of their patches through a norm of the head's own;
    DeiT's distilled ones read two tokens, others pool by attention. Which is no single attribute's to say.
    """
    n = int(model.num_prefix_tokens) + 9
    drawn = torch.Generator().manual_seed(0)
    tokens = torch.randn(1, n, int(model.embed_dim), generator=drawn)  # (1, n, d)
    try:
        with torch.inference_mode():
            read = _head(model, tokens)
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False  # it wants other features than a row of tokens
    return read.shape == tokens[:, 0].shape and torch.allclose(read, tokens[:, 0])


def _parse_layers(text: str, n_blocks: int, name: str) -> tuple[int, ...]:
    asked = parse_layers(text)
    if isinstance(asked, int):
        if not 1 <= asked <= n_blocks:
            raise UsageError(f"--layers {text}: {name} has {n_blocks} blocks.")
        return tuple(range(n_blocks - asked, n_blocks))
    layers = [layer for first, last in asked for layer in range(first, last + 1)]
    if not layers or layers != sorted(set(layers)) or layers[-1] >= n_blocks:
        raise UsageError(f"--layers {text}: name blocks 0 to {n_blocks - 1} of {name} once each, in order.")
    return tuple(layers)
