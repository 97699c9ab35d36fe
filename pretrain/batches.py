"""The batch of every step: which images, and their views.

Everything here depends on the seed and the number of the step alone, so a run that was killed, or is spread
over several processes, sees the very views of one that was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from embedkit.images.preprocess import Preprocessing
from pretrain.options import PretrainOptions
from pretrain.views import Frames, make_views, preset_of

Views = list[torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Views of the same images: `views` at full size, `small` as local crops; each (b, 3, s, s)."""

    views: Views
    small: Views


class Batches:
    """Draws the batches of a run.

    Parameters
    ----------
    rows : (n,)
        The images to train on.
    share
        Which of how many equal parts of a batch is made here: the rank and the number of processes.
    """

    def __init__(
        self,
        frames: Frames,
        rows: torch.Tensor,
        options: PretrainOptions,
        preprocessing: Preprocessing,
        *,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.frames, self.rows, self.options, self.device = frames, rows, options, device
        self.preset = preset_of(options)
        self.size, self.share = preprocessing.image_size, share
        self.mean, self.std = (
            torch.tensor(values, device=device)[:, None, None] * 255
            for values in (preprocessing.mean, preprocessing.std)
        )
        self.steps_per_epoch = len(rows) // options.batch_size

    def ahead(self, first: int, end: int) -> Iterator[Batch]:
        """Yield the batches of steps `first` to `end`, each made while the one before it is trained on."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.make, first)
            for step in range(first, end):
                batch = coming.result()
                if step + 1 < end:
                    coming = pool.submit(self.make, step + 1)
                yield batch

    def make(self, step: int) -> Batch:
        """Draw this process's part of the batch of a step."""
        options = self.options
        epoch, position = divmod(step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(options.seed + 1_000_003 * (epoch + 1))
        order = self.rows[torch.randperm(len(self.rows), generator=shuffle)]
        rows = order[position * options.batch_size : (position + 1) * options.batch_size]
        part, parts = self.share
        frames = self.frames.take(rows.chunk(parts)[part], self.device)
        generator = torch.Generator(self.device).manual_seed(options.seed * 1_000_003 + step)
        n_small = options.local_views if options.distils else 0
        return Batch(
            [self._draw(frames, generator, self.size) for _ in range(2)],
            [self._draw(frames, generator, options.local_size, local=True) for _ in range(n_small)],
        )

    def look(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw one view of each of some images, all of them in this process."""
        frames = self.frames.take(rows, self.device)
        return self._scaled(make_views(frames, self.size, preset=self.preset, generator=generator))

    def _draw(
        self, frames: Frames, generator: torch.Generator, size: int, *, local: bool = False
    ) -> torch.Tensor:
        views = make_views(
            frames, size, preset=self.preset, generator=generator, local=local, share=self.share
        )
        return self._scaled(views)

    def _scaled(self, views: torch.Tensor) -> torch.Tensor:
        return views.sub_(self.mean).div_(self.std).contiguous(memory_format=torch.channels_last)
