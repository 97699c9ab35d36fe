"""The way from stored images to views of them: what threads do, what memory holds, what a device does."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from embedkit.datasets.stacks import Stack, stack_of
from embedkit.extraction.job import Job
from embedkit.images.drawing import Canvas, Drawn, draw_views
from embedkit.images.noise import normal_table
from embedkit.images.resampling import Resampler


@dataclass(frozen=True)
class Way:
    """How a batch is prepared.

    Parameters
    ----------
    job
        What is computed.
    stack, resampler
        The images as one array, which the device resizes; else threads decode and resize each.
    table : (65536,) float32, optional
        On the device, where that draws random views: of their noise.
    canvas, shown
        Where views lie in a resized image, and its rows and columns there, if all are of one size.
    """

    job: Job
    stack: Stack | None = None
    resampler: Resampler | None = None
    table: torch.Tensor | None = None
    canvas: Canvas | None = None
    shown: tuple[torch.Tensor, torch.Tensor] | None = None

    @classmethod
    def of(cls, job: Job, *, resizes: bool, draws: bool) -> Way:
        """Return the way where torch resizes, or draws views, or both."""
        stack = _resizable(job) if resizes else None
        table = torch.from_numpy(normal_table()).to(job.device) if draws else None
        if stack is None:
            return cls(job, table=table)
        done = job.backbone.preprocessing
        resampler = Resampler(done, stack.shape[:2], whole=draws).to(job.device)
        if not draws:
            return cls(job, stack, resampler)
        canvas = Canvas.of(resampler.shape, done.image_size)
        rows, columns = (torch.from_numpy(part).to(job.device) for part in (canvas.rows, canvas.columns))
        return cls(job, stack, resampler, table, canvas, (rows, columns))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is fed of one image."""
        if self.stack is not None:
            return self.stack.shape
        done = self.job.backbone.preprocessing
        channels = 3 if done.channels == 1 else done.channels  # grey comes as three
        if self.table is not None:
            return (Canvas.side(done.image_size), Canvas.side(done.image_size), channels)
        return (self.job.views.n, done.image_size, done.image_size, channels)

    def room(self, n_images: int, *, pinned: bool) -> Drawn | None:
        """Make room for what is random in a batch; None where it is drawn already."""
        if self.table is None:
            return None
        return Drawn.blank(
            n_images, self.job.views.n, self.job.backbone.preprocessing.image_size, pinned=pinned
        )

    def __call__(self, batch: torch.Tensor, *random: torch.Tensor) -> torch.Tensor:
        """Pixels of a batch, and what is random in it -> (b v, s, s, c) of levels from 0 to 255."""
        if self.resampler is not None:
            batch = self.resampler(batch)  # (b, h, w, 3)
        if self.shown is not None:
            batch = batch[:, self.shown[0]][:, :, self.shown[1]]
        if self.table is not None:
            batch = draw_views(batch, Drawn(*random), self.job.backbone.preprocessing.image_size, self.table)
        elif self.resampler is not None:
            batch = _turned(batch, self.job.views.kind)
        return batch.flatten(0, 1)


def possible_ways(job: Job) -> tuple[str, ...]:
    """Return what torch can do of the preparation of these images."""
    found = ("resize",) if _resizable(job) is not None else ()
    return (*found, "views") if job.views.kind == "galaxy" else found


def _resizable(job: Job) -> Stack | None:
    """Return the images where a device can resize them: of one array, and no crop beyond them."""
    if job.backbone.preprocessing.channels != 3:
        return None
    stack, crop = stack_of(job.dataset), job.backbone.preprocessing.center_crop
    return stack if stack is not None and (crop is None or crop <= min(stack.shape[:2])) else None


def _turned(batch: torch.Tensor, kind: str) -> torch.Tensor:
    """(b, s, s, c) -> (b, v, s, s, c): the views of `embedkit.images.views` that are exact."""
    if kind == "1":
        return batch[:, None]
    turns = [torch.rot90(batch, turn, (1, 2)) for turn in range(4)]
    if kind == "d4":
        turns += [turned.flip(2) for turned in turns]
    return torch.stack(turns, dim=1)
