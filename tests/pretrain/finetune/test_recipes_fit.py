"""Every shipped recipe fits the network that it names: each phase begins, and its parameters learn."""

import pytest
import torch

from embedkit.backbones.load import load_backbone
from embedkit.backbones.network import build_network
from embedkit.backbones.options import BackboneSpec
from embedkit.images.options import Overrides
from pretrain.finetune.phases import begin, parameter_groups
from pretrain.finetune.rates import rate
from pretrain.finetune.recipe import RECIPES, read_recipe
from pretrain.trainable import set_training

LARGE = ("vgg11-deep", "vgg11-shallow", "convnext-small", "convnext-small-curriculum")


@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one in LARGE else one for one in RECIPES]
)
def test_a_step_of_each_phase_changes_what_it_says_and_nothing_else(name):
    recipe = read_recipe(name)
    spec = BackboneSpec(recipe.backbone, random_init=0, preprocessing=Overrides(image_size=64))
    network = build_network(load_backbone(spec), 4, recipe.head, seed=0)
    for phase in recipe.phases:
        begin(network, phase, name=recipe.backbone, seed=0, lora=recipe.lora)
        groups = parameter_groups(network, phase, name=recipe.backbone, layer_decay=recipe.layer_decay)
        trains = {key for group in groups for key in group.names}
        ends = recipe.plan.ends(5120, phase.epochs)
        optimiser = torch.optim.SGD(
            [
                {"params": one.parameters, "lr": one.lr_scale * rate(phase, ends[0], ends, [1.0])}
                for one in groups
            ]
        )
        before = {key: value.clone() for key, value in network.state_dict().items()}
        set_training(network)
        loss = network(torch.randn(4, 3, 64, 64)).square().mean()
        loss.backward()
        optimiser.step()
        after = network.state_dict()
        moved = {key for key, value in after.items() if not torch.equal(value, before[key])}
        of_statistics = {key for key in moved if "running_" in key or key.endswith("num_batches_tracked")}
        weights = moved - of_statistics
        assert weights <= trains
        for part in ("head.", "backbone."):
            assert any(key.startswith(part) for key in weights) == any(key.startswith(part) for key in trains)
        norms = {key.rpartition(".")[0] for key in of_statistics}
        assert all(f"{norm}.weight" in trains for norm in norms)
        assert all(
            parameter.grad is None for key, parameter in network.named_parameters() if key not in trains
        )
        optimiser.zero_grad()
