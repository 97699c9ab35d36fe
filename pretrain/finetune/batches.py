"""The batches of training with labels: one view of each image, in batches whose size may change."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence

import torch

from embedkit.images.preprocess import Preprocessing
from pretrain.batch import Batch
from pretrain.batches import Batches
from pretrain.views import Frames, Preset

# Epoch -> the order in which its images are seen.
Order = Callable[[int], torch.Tensor]


def shuffled(rows: torch.Tensor, seed: int) -> Order:
    """Return the order of an epoch: all rows, shuffled anew each time."""

    def order(epoch: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed + 1_000_003 * (epoch + 1))
        return rows[torch.randperm(len(rows), generator=generator)]

    return order


class LabelledBatches(Batches):
    """One view of every image of a batch.

    Parameters
    ----------
    order
        Of an epoch's images.
    sizes
        Images of each step's batch.
    ends
        For each epoch, the number of steps after which it ends.
    preset
        Of the views; None shows the images as they are.
    seed
        Of the views; a step's are the same whoever draws them.
    """

    def __init__(
        self,
        frames: Frames,
        order: Order,
        *,
        sizes: Sequence[int],
        ends: Sequence[int],
        preset: Preset | None,
        preprocessing: Preprocessing,
        seed: int,
        device: torch.device,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        super().__init__(frames, preset or Preset.none(), preprocessing, device=device, share=share)
        self.order, self.sizes, self.ends, self.seed = order, list(sizes), list(ends), seed
        self.plain = preset is None

    def make(self, step: int) -> Batch:
        """Draw this process's part of the batch of a step."""
        rows = self.rows(step)
        part, parts = self.share
        own = rows.chunk(parts)[part]
        if self.plain:
            return Batch([self.look(own)], [], own)
        frames = self.frames.take(own, self.device)
        generator = torch.Generator(self.device).manual_seed(self.seed * 1_000_003 + step)
        return Batch([self.draw(frames, generator, self.size)], [], own)

    def rows(self, step: int) -> torch.Tensor:
        """Return which images the whole batch of a step shows."""
        epoch = bisect_right(self.ends, step)
        first = self.ends[epoch - 1] if epoch else 0
        begin = sum(self.sizes[first:step])
        return self.order(epoch)[begin : begin + self.sizes[step]]

    def look(self, rows: torch.Tensor) -> torch.Tensor:
        """Return some images as they are: the central square, as `embedkit extract` gives it to a network."""
        pixels = self.frames.pixels[rows].to(self.device).float()
        edge = (pixels.shape[-1] - self.size) // 2
        return self.scaled(pixels[..., edge : edge + self.size, edge : edge + self.size].contiguous())
