"""A backbone and options -> the networks that a run trains."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from embedkit.backbones.load import Backbone
from embedkit.errors import UsageError
from pretrain import ranks
from pretrain.distillation import Distillation
from pretrain.options import PretrainOptions
from pretrain.sizes import take_crops
from pretrain.trainable import choose_weights
from pretrain.vicreg import VICReg
from pretrain.view_objective import ViewObjective


def build_objective(
    backbone: Backbone, options: PretrainOptions, device: torch.device, *, steps: int
) -> ViewObjective:
    """Build what is trained; the seed fixes the low-rank matrices and the head."""
    torch.manual_seed(options.seed)
    student: Any = deepcopy(backbone.model)
    student = choose_weights(student, options, backbone.name)
    student = synchronised(student, device, backbone.name)
    student.to(device, memory_format=torch.channels_last)
    size = backbone.preprocessing.image_size
    with torch.no_grad():
        d = student.eval()(torch.zeros(1, 3, size, size, device=device)).shape[1]
    if not options.distils:
        return VICReg(student, options, device, d=d)
    if options.local_views and options.local_size != size:
        base = student.get_base_model() if options.low_rank else student
        take_crops(base, options.local_size, backbone.name)
    return Distillation(student, options, device, d=d, steps=steps)


def synchronised(model: Any, device: torch.device, name: str) -> Any:
    """Let batch normalisations see the images of all processes."""
    if ranks.world() == 1 or not any(isinstance(m, _BatchNorm) for m in model.modules()):
        return model
    if device.type != "cuda":
        raise UsageError(
            f"{name} has batch normalisation, which PyTorch synchronises between GPUs only. Run it in one "
            "process here."
        )
    from timm.layers import convert_sync_batchnorm

    return convert_sync_batchnorm(model)
