"""Small runs that `test_processes` starts in one process and in two."""

import sys
from dataclasses import replace
from pathlib import Path

import torch

import pretrain.objective
from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.images.options import Overrides
from pretrain import ranks
from pretrain.options import PretrainOptions
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

SPEC = BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))
PIXELS = torch.randint(0, 255, (32, 3, 40, 40), dtype=torch.uint8, generator=torch.manual_seed(0))
BASE = PretrainOptions(
    batch_size=8, held_out=8, epochs=2, local_views=1, local_size=16, prototypes=16, koleo=0.1, device="cpu"
)
RUNS = {
    "vicreg": replace(BASE, method="vicreg"),
    "sinkhorn": replace(BASE, centering="sinkhorn", train_norms=True),
    "mean": replace(BASE, koleo=0.0, accumulate=2, lr=5e-5),
    "sharded": replace(BASE, method="dino", lr=1e-4, centering="sinkhorn", fsdp=True),
    "sharded-lora": replace(
        BASE, unfreeze_blocks=1, lora_rank=4, lora_alpha=8, centering="sinkhorn", fsdp=True
    ),
}


class KilledError(Exception):
    """Stands for what ends a run early."""


def train(name: str, folder: Path) -> None:
    """Run one of `RUNS`, broken off in its second epoch and gone on with."""
    pretrain.objective.native_bf16 = lambda _: False  # rounding would hide what differs
    options = replace(RUNS[name], fsdp=RUNS[name].fsdp and ranks.world() > 1)
    torch.set_num_threads(1)
    first = Run(WithoutLabels(load_backbone(SPEC), PIXELS, options), folder / name)
    update = first.update

    def until_killed(batch):
        if first.step == 5:
            raise KilledError
        return update(batch)

    first.update = until_killed
    try:
        first.train()
    except KilledError:
        trained = Run(WithoutLabels(load_backbone(SPEC), PIXELS, options), folder / name).train()
    state = {key: value.clone() for key, value in trained.load("last").state_dict().items()}
    if ranks.rank() == 0:
        torch.save({"log": trained.log, "last": state}, folder / f"{name}.pt")


def threads() -> list[str]:
    """Return the names of this process's threads, as Linux knows them."""
    return [one.read_text().strip() for one in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with ranks.joined():
        for run in RUNS:
            train(run, folder)
        number = ranks.rank()
    (folder / f"threads-{number}").write_text("\n".join(threads()))
