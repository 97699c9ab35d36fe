"""Which timm architecture has tensors of these names and shapes? Asked only when a file was refused."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping

import torch

from embedkit.backbones.checkpoints.leftovers import leftover

# Modules of timm by a name that their networks' tensors have.
FAMILIES = {
    r"blocks\.0\.attn\.(qkv|q_proj)\.weight": ("vision_transformer", "deit", "eva", "beit"),
    r"blocks\.0\.gamma_1": ("beit", "eva", "cait"),
    r"layer1\.0\.conv1\.weight": ("resnet", "resnest", "sknet", "res2net"),
    r"stages\.0\.blocks\.0\.conv_dw\.weight": ("convnext",),
    r"blocks\.0\.0\.(conv|conv_dw|conv_pw|conv_exp)\.weight": ("efficientnet", "mobilenetv3"),
    r"s1\.b1\.conv1\.conv\.weight": ("regnet",),
    r"layers\.0\.blocks\.0\.attn\.(qkv\.weight|logit_scale)": ("swin_transformer", "swin_transformer_v2"),
    r"features\.denseblock1\.": ("densenet",),
    r"stages\.\d+\.\d+\.conv_kxk|stages\.\d+\.\d+\.conv1\.conv": ("byobnet",),
}
# Positions depend on the input size, which a file is free to have otherwise.
SIZED = re.compile(r"pos_embed|relative_position|rel_pos|attn_mask|num_batches_tracked")
MOST_SECONDS = 8.0


def looks_like(shapes: Mapping[str, torch.Size], *, not_this: str) -> str | None:
    """Return the timm name, the shortest, of a network with just these tensors; None where none is known.

    Parameters
    ----------
    shapes
        Of the file's tensors, by names without wrappers.
    not_this
        The architecture that they were refused for.
    """
    theirs = _compared(shapes)
    started = time.monotonic()
    for name in _candidates(shapes):
        if time.monotonic() - started > MOST_SECONDS:
            return None
        if name != not_this and _fits(theirs, name):
            return name
    return None


def _compared(shapes: Mapping[str, torch.Size]) -> dict[str, tuple[int, ...]]:
    """Leave out what depends on the input size, and heads."""
    return {
        name: tuple(shape)
        for name, shape in shapes.items()
        if not SIZED.search(name) and leftover(name) is None
    }


def _candidates(shapes: Mapping[str, torch.Size]) -> Iterator[str]:
    from embedkit.backbones.networks.registry import timm

    modules = [
        m for pattern, found in FAMILIES.items() if any(re.match(pattern, n) for n in shapes) for m in found
    ]
    names = {name for module in modules for name in timm.list_models(module=module)}
    patch = shapes.get("patch_embed.proj.weight")
    if patch is not None and len(patch) == 4:
        side = f"patch{patch[-1]}"
        names = {name for name in names if "patch" not in name or re.search(rf"{side}(\D|$)", name)}
    size = _size_words(patch)
    yield from sorted(names, key=lambda name: (not any(word in name for word in size), len(name), name))


def _size_words(patch: torch.Size | None) -> tuple[str, ...]:
    """Words for a width in timm's names, so that likely ones are tried first."""
    widths = {
        192: ("tiny",),
        384: ("small",),
        768: ("base",),
        1024: ("large",),
        1280: ("huge",),
        1536: ("giant",),
    }
    return widths.get(patch[0], ()) if patch is not None else ()


def _fits(theirs: Mapping[str, tuple[int, ...]], name: str) -> bool:
    from embedkit.backbones.networks.registry import timm

    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False, num_classes=0)
    except Exception:  # some need values while they are built
        return False
    own = _compared({key: value.shape for key, value in model.state_dict().items()})
    other_names = {re.sub(r"register_tokens", "reg_token", key): value for key, value in theirs.items()}
    return own == other_names
