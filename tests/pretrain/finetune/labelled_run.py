"""One training with labels, which `test_joint_and_killed` starts in one process and in two, and kills."""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from injected_memory import inject

import embedkit
import pretrain.finetune.training
import pretrain.objective
import pretrain.trainer
from pretrain.finetune.supervised import Supervised
from pretrain.trainer import Run


def killed_at(step: int) -> None:
    """Kill this process, as kill -9 does, before the step of that number, counted over all phases.

    What torchrun starts again lives.
    """
    if os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") != "0":
        return
    update, done = Run.update, []

    def until(self, batch):
        if len(done) == step:
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(None)
        return update(self, batch)

    Run.update = until


def killed_after_checkpoint(number: int) -> None:
    """Kill it between a checkpoint and its log."""
    write, done = pretrain.trainer.write_checkpoint, []

    def until(folder, state):
        write(folder, state)
        done.append(None)
        if len(done) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    pretrain.trainer.write_checkpoint = until


def fits(images: list[int], *, after: list[int]) -> None:
    """Inject a memory that holds so many images of a part in the process of each number.

    From the step on that `after` says, for each time that torchrun starts the processes.
    """
    begins = after[int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))]
    most, update, done = images[int(os.environ.get("RANK", "0"))], Run.update, []

    def counted(self, batch):
        loss = update(self, batch)
        done.append(None)
        return loss

    Run.update = counted
    inject(pretrain.finetune.training, Supervised, most=lambda: most if len(done) >= begins else 64)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    pretrain.objective.native_bf16 = lambda _: False  # rounding would hide what differs
    torch.set_num_threads(1)
    if "step" in asked:
        killed_at(asked.pop("step"))
    if "checkpoint" in asked:
        killed_after_checkpoint(asked.pop("checkpoint"))
    if "fits" in asked:
        fits(asked.pop("fits"), after=asked.pop("after", [0]))
    embedkit.finetune(asked.pop("dataset"), Path(asked.pop("output")), device="cpu", probe=False, **asked)
