"""The training loop."""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from embedkit import console
from embedkit.computing.peak import is_out_of_memory
from embedkit.errors import EmbedkitError
from pretrain import ranks
from pretrain.batch import Batch
from pretrain.elastic import Elastic
from pretrain.journal import CHECKPOINT, read_checkpoint, taken_up, write_checkpoint, write_log
from pretrain.sharding import load, load_optimiser, whole
from pretrain.task import Task
from pretrain.trainable import set_training


@dataclass(frozen=True)
class Trained:
    """A finished run: the model that was looked at (the teacher, if any), two of its states, its log.

    `states` holds "chosen", after the epoch that the task kept, and "last".
    """

    model: Any
    states: dict[str, dict[str, torch.Tensor]]
    log: tuple[dict[str, float], ...]

    def load(self, which: str) -> Any:
        """Put a state into the one model, and return that."""
        self.model.load_state_dict(self.states[which])
        return self.model.eval()


class Run:
    """One training run: what it trains, and how far it is.

    Parameters
    ----------
    task
        Batches, an objective, rates, and how epochs are judged.
    folder
        For the checkpoint and the log.
    """

    def __init__(self, task: Task, folder: Path) -> None:
        self.task, self.folder = task, folder
        self.objective, self.optimiser = task.objective, task.optimiser
        self.step = 0
        self.log: list[dict[str, float]] = []
        self.best: dict[str, torch.Tensor] = {}

    @property
    def ends(self) -> Sequence[int]:
        """For each epoch, the number of steps after which it ends."""
        return self.task.ends

    @property
    def steps(self) -> int:
        """Of the whole run, if nothing ends it early."""
        return self.ends[-1]

    def train(self) -> Trained:
        """Run to the last step or until further epochs are in vain, from the checkpoint if there is one."""
        self._resume()
        if self._done():  # killed after the last epoch, or called again: what is kept is written anew
            console.note(f"{self.folder / CHECKPOINT}: has its {self.step} steps done already.")
            self.task.check(self.log)
            return self._trained()
        if not self.log:
            self.task.prepare(self.gradients)
            self._note({"epoch": 0, **self.look()})
            if self.task.best(self.log) is self.log[-1]:
                self.best = self._evaluated()
        with console.progress("train", self.steps, unit="steps") as advance:
            advance(self.step)
            total, begun, started = 0.0, self.step, time.perf_counter()
            for batch in self._ahead():
                total += self.update(batch)
                self.step += 1
                advance()
                if self.step in self.ends:
                    self._end_epoch(total / (self.step - begun), time.perf_counter() - started)
                    if self._done():
                        break
                    total, begun, started = 0.0, self.step, time.perf_counter()
        if self.step < self.steps:
            console.note(f"Stopped early: {self.task.why_enough}.")
        return self._trained()

    def _ahead(self) -> Iterator[Batch]:
        """Yield the batches that are left; where sizes are decided on the way, an epoch of them at a time."""
        while self.step < self.steps:
            end = next(e for e in self.ends if e > self.step) if self.task.elastic else self.steps
            yield from self.task.batches.ahead(self.step, end)

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return bisect_right(self.ends, self.step)

    def _trained(self) -> Trained:
        states = {"chosen": self.best, "last": self._evaluated()}
        return Trained(self.objective.plain or self.objective.evaluated, states, tuple(self.log))

    def update(self, batch: Batch) -> float:
        """Take one step, and return its loss."""
        task, objective = self.task, self.objective
        task.set_rates(self.step, self.log)
        total = self.gradients(batch, self.step)
        if not torch.isfinite(total):
            kept = task.replay(self.step)
            raise EmbedkitError(f"the loss is {float(total)} at step {self.step}. {kept}{task.advice}")
        objective.adjust(self.step)
        task.adjust_gradients()
        if task.clip_grad is not None:
            torch.nn.utils.clip_grad_norm_(task.parameters, task.clip_grad)
        self.optimiser.step()
        objective.end(self.step)
        return float(total)

    def gradients(self, batch: Batch, step: int) -> torch.Tensor:
        """Put the gradients of a step into the parameters, and return its loss."""
        task = self.task
        total = self._backward(batch, step) if task.elastic is None else self._fitted(batch, step)
        if not task.fsdp:  # sharded gradients are means already
            ranks.average([p.grad for p in task.parameters if p.grad is not None])
        ranks.average([total])
        task.see_gradients(step, len(batch.rows))
        return total

    def _fitted(self, batch: Batch, step: int) -> torch.Tensor:
        """Go backward in parts that fit into memory; every process takes as many."""
        elastic, network = self.task.elastic, self.objective.evaluated
        assert elastic is not None
        if self.task.waits_within:
            return self._fitted_together(batch, step, elastic)
        while True:
            before = {name: value.clone() for name, value in network.named_buffers()}
            total = None
            try:
                total = self._backward(batch, step)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
            if not ranks.anywhere(total is None):
                assert total is not None
                return total
            self.optimiser.zero_grad()
            self.task.forget_parts()
            for name, value in network.named_buffers():
                value.copy_(before[name])
            elastic.memory.release()
            elastic.shrink(step)

    def _fitted_together(self, batch: Batch, step: int, elastic: Elastic) -> torch.Tensor:
        """Go backward where no process can be told that one failed, since they wait within the step."""
        try:
            return self._backward(batch, step)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise elastic.shrink_alone(step) from error

    def _backward(self, batch: Batch, step: int) -> torch.Tensor:
        """Sum up the gradients of all parts in this process, and return the mean loss."""
        task, objective = self.task, self.objective
        torch.manual_seed(task.seed * 1_000_003 + step)  # for dropout and its like
        set_training(objective.student)
        objective.head.train()
        targets = objective.begin(batch, step)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=task.batches.device)
        n_parts = task.parts(step)
        for part in torch.arange(len(batch.rows)).chunk(n_parts):
            answers = [x[part] for x in targets]
            loss = objective.loss(batch.part(part), answers) / n_parts
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
            task.see_part(step)
        return total

    def look(self) -> dict[str, float]:
        """Look at images that are not trained on; all processes see what the first one saw."""
        return ranks.agreed(self.task.look(self.step))

    def _done(self) -> bool:
        return self.step >= self.steps or (self.step in self.ends and self.task.enough(self.log))

    def _end_epoch(self, loss: float, seconds: float) -> None:
        self.task.end_epoch(self.step)
        look = self.epoch % self.task.look_every == 0 or self.epoch == len(self.ends)
        seen = self.look() if look else {}
        self._note({"epoch": self.epoch, "loss": loss, "seconds": round(seconds, 2), **seen})
        if look and self.task.best(self.log) is self.log[-1]:
            self.best = self._evaluated()
        self._write()
        if look:
            self.task.check(self.log)

    def _note(self, row: dict[str, float]) -> None:
        self.log.append(row)
        console.note(", ".join(f"{name} {value:.4g}" for name, value in row.items()))

    def _write(self) -> None:
        state: dict[str, Any] = {
            name: whole(module.state_dict()) for name, module in self.objective.modules().items()
        }
        state |= {"optimiser": whole(self.optimiser.state_dict()), "step": self.step, "log": self.log}
        state |= {"best": self.best, "asked": self.task.asked, "measured": self.task.measured()}
        if ranks.rank() == 0:
            write_checkpoint(self.folder, state)
            self._write_log()

    def _write_log(self) -> None:
        top = self.task.best(self.log)
        write_log(self.folder, self.log, kept=None if top is None else int(top["epoch"]))

    def _evaluated(self) -> dict[str, torch.Tensor]:
        state = whole(self.objective.evaluated.state_dict())
        return {name: value.detach().cpu().clone() for name, value in state.items()}

    def _resume(self) -> None:
        state = read_checkpoint(self.folder, self.task.asked, self.task.as_today)
        if state is None:
            return
        with taken_up(self.folder):
            for name, module in self.objective.modules().items():
                load(module, state[name])
            load_optimiser(self.optimiser, state["optimiser"])
            self.task.measured_before(state.get("measured", {}))
            self.step, self.log, self.best = state["step"], state["log"], state["best"]
            self.task.best(self.log)
            self._done()
        if ranks.rank() == 0:  # a kill after the checkpoint, and before its log
            self._write_log()
        if not self._done():
            console.note(f"Going on after step {self.step} of {self.steps}.")
