"""The batch of every step: which images, and their views.

Everything here depends on the seed and the number of the step alone, so a run that was killed, or is spread
over several processes, sees the very views of one that was not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import torch

from embedkit.images.preprocess import Preprocessing
from pretrain.batch import Batch
from pretrain.options import PretrainOptions
from pretrain.views import Frames, Preset, make_views, preset_of


class Batches(ABC):
    """Draws the batches of a run.

    Parameters
    ----------
    preset
        Of the views.
    share
        Which of how many equal parts of a batch is made here: the rank and the number of processes.
    """

    def __init__(
        self,
        frames: Frames,
        preset: Preset,
        preprocessing: Preprocessing,
        *,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.frames, self.preset, self.device = frames, preset, device
        self.size, self.share = preprocessing.image_size, share
        self.mean, self.std = (
            torch.tensor(values, device=device)[:, None, None] * 255
            for values in (preprocessing.mean, preprocessing.std)
        )

    def ahead(self, first: int, end: int) -> Iterator[Batch]:
        """Yield the batches of steps `first` to `end`, each made while the one before it is trained on."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.make, first)
            for step in range(first, end):
                batch = coming.result()
                if step + 1 < end:
                    coming = pool.submit(self.make, step + 1)
                yield batch

    @abstractmethod
    def make(self, step: int) -> Batch:
        """Draw this process's part of the batch of a step."""

    def draw(
        self, frames: Frames, generator: torch.Generator, size: int, *, local: bool = False
    ) -> torch.Tensor:
        """Draw a view of each image of this process's part, as the network takes them."""
        views = make_views(
            frames, size, preset=self.preset, generator=generator, local=local, share=self.share
        )
        return self.scaled(views)

    def scaled(self, views: torch.Tensor) -> torch.Tensor:
        """Subtract the mean and divide by the standard deviation, in place."""
        return views.sub_(self.mean).div_(self.std).contiguous(memory_format=torch.channels_last)


class ViewBatches(Batches):
    """Two views of every image, and small crops of it.

    Parameters
    ----------
    rows : (n,)
        The images to train on.
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
        super().__init__(frames, preset_of(options), preprocessing, device=device, share=share)
        self.rows, self.options = rows, options
        self.steps_per_epoch = len(rows) // options.at_a_time

    def make(self, step: int) -> Batch:
        """Draw this process's part of the batch of a step."""
        options = self.options
        epoch, position = divmod(step, self.steps_per_epoch)
        shuffle = torch.Generator().manual_seed(options.seed + 1_000_003 * (epoch + 1))
        order = self.rows[torch.randperm(len(self.rows), generator=shuffle)]
        rows = order[position * options.at_a_time : (position + 1) * options.at_a_time]
        part, parts = self.share
        own = rows.chunk(parts)[part]
        frames = self.frames.take(own, self.device)
        generator = torch.Generator(self.device).manual_seed(options.seed * 1_000_003 + step)
        n_small = options.local_views if options.distils else 0
        return Batch(
            [self.draw(frames, generator, self.size) for _ in range(2)],
            [self.draw(frames, generator, options.local_size, local=True) for _ in range(n_small)],
            own,
        )

    def look(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draw one view of each of some images, all of them in this process."""
        frames = self.frames.take(rows, self.device)
        return self.scaled(make_views(frames, self.size, preset=self.preset, generator=generator))
