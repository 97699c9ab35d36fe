"""The network inside a checkpoint: without its wrappers' prefixes, the teacher before the student."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch

# The parts of a name that wrappers put in front, best first: where several networks stand beside each other,
# the first of these is taken. A teacher (the mean of students) comes first, as in DINO's and I-JEPA's own
# evaluation; a momentum encoder comes last, as in MoCo's and solo-learn's.
TEACHERS = """
    teacher teacher_backbone teacher_model model_teacher teacher_network teacher_state_dict target_encoder
    target_network target_model model_ema state_dict_ema ema_state_dict ema_model ema module_ema
"""
PLAIN = """
    state_dict model_state_dict model_state model module _orig_mod _forward_module net network base_model
    weights params
"""
STUDENTS = """
    student student_backbone student_model model_student student_network student_state_dict online_network
    online_model online_encoder online_backbone encoder_q base_encoder query_encoder
"""
BACKBONES = """
    backbone trunk feature_extractor image_encoder visual_encoder vision_encoder vision_model vision_tower
    visual encoder vit deit dinov2 dinov2_with_registers beit ijepa resnet convnext convnextv2
"""
MOMENTA = """
    encoder_k momentum_encoder momentum_backbone backbone_momentum key_encoder momentum_teacher momentum_model
"""
ORDER = {part: rank for rank, part in enumerate((TEACHERS + PLAIN + STUDENTS + BACKBONES + MOMENTA).split())}
# These come between the parts of a name, where single blocks were wrapped.
WITHIN = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
MOST_WRAPPERS = 12
# A network beside which another is too small to be one (a running centre, say).
LEAST_SHARE = 0.3
# More parts of a size than that are layers.
MOST_NETWORKS = 3


@dataclass(frozen=True)
class Unwrapped:
    """A network without its wrappers.

    Parameters
    ----------
    tensors
        By their names in the network.
    outside
        Why what stood beside the network was left, by its name in the file; None where only its name can say.
    taken_from
        The wrappers that were taken off, joined by dots.
    """

    tensors: dict[str, torch.Tensor]
    outside: dict[str, str | None]
    taken_from: str


def unwrap(
    tensors: Mapping[str, torch.Tensor],
    recognised: Callable[[Mapping[str, torch.Tensor]], bool],
    *,
    unknown: int = 2,
) -> Unwrapped:
    """Take wrappers off, in whatever order they were put on.

    Parameters
    ----------
    tensors
        By their names in the file.
    recognised
        Whether these are a network's own names, from which nothing is to be taken.
    unknown
        How many wrappers may have a name of somebody's own, such as ``my_net.``: one is taken off where
        nothing else is in the file that could be the network.
    """
    origin = {name: name for name in tensors}
    inner: dict[str, torch.Tensor] = {}
    shortened = {name: WITHIN.sub("", name) for name in tensors}
    apart = len(set(shortened.values())) == len(tensors)
    for name, tensor in tensors.items():
        short = shortened[name] if apart else name
        inner[short], origin[short] = tensor, name
    outside: dict[str, str | None] = {}
    path: list[str] = []
    while len(path) < MOST_WRAPPERS and not recognised(inner):
        networks = _networks(inner)
        if networks:
            picked = min(networks, key=ORDER.__getitem__)
        else:
            found = _leading(inner, recognised, unknown)
            if found is None:
                break
            picked, unknown = found, unknown - 1
        path.append(picked)
        kept: dict[str, torch.Tensor] = {}
        kept_origin = {}
        for name, tensor in inner.items():
            first, _, rest = name.partition(".")
            if first == picked and rest:
                kept[rest], kept_origin[rest] = tensor, origin[name]
            else:
                outside[origin[name]] = f"{first}, of which {picked} was taken" if first in networks else None
        inner, origin = kept, kept_origin
    return Unwrapped(inner, outside, ".".join(path))


def _networks(names: Iterable[str]) -> list[str]:
    """Wrappers that networks beside each other are in."""
    return _large(name for name in names if name.partition(".")[0] in ORDER)


def _large(names: Iterable[str]) -> list[str]:
    counts: dict[str, int] = {}
    for name in names:
        first, _, rest = name.partition(".")
        if rest:
            counts[first] = counts.get(first, 0) + 1
    return [part for part, n in counts.items() if n >= LEAST_SHARE * max(counts.values())]


def _leading(
    inner: Mapping[str, torch.Tensor],
    recognised: Callable[[Mapping[str, torch.Tensor]], bool],
    unknown: int,
) -> str | None:
    """Return the one part of a name that nobody knows and below which the network is; None of two such."""
    parts = _large(inner)
    if unknown < 1 or len(parts) > MOST_NETWORKS:
        return None
    leading = []
    for part in parts:
        below = {
            name[len(part) + 1 :]: tensor for name, tensor in inner.items() if name.startswith(f"{part}.")
        }
        if recognised(below) or recognised(unwrap(below, recognised, unknown=unknown - 1).tensors):
            leading.append(part)
    return leading[0] if len(leading) == 1 else None


def bare(name: str) -> str:
    """Return a name without wrappers in front: ``module.head.weight`` is ``head.weight``."""
    name = WITHIN.sub("", name)
    while True:
        first, _, rest = name.partition(".")
        if not rest or first not in ORDER:
            return name
        name = rest
