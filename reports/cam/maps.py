"""Grad-CAM of a trained network: which places of an image speak for a class, or for an answer of votes."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray

from embedkit.backbones.answers import log_within
from embedkit.backbones.network import Network
from embedkit.backbones.saved_network import SavedNetwork
from embedkit.console import progress
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.vote_tree import VoteTree
from embedkit.images.preprocess import Preprocessing
from embedkit.scoring.calibration import scale
from reports.attention import class_attention, has_class_attention
from reports.cam.layer import Layer

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
MISSING = "Grad-CAM needs grad-cam. Install embedkit-images[cam]."


def check_installed() -> None:
    """Raise `EmbedkitError` that names what to install, where grad-cam is not there."""
    if find_spec("pytorch_grad_cam") is None:
        raise EmbedkitError(MISSING)


@dataclass(frozen=True)
class Score:
    """What a map explains of one image's raw outputs (o,): a class's or answer's output, as it is.

    Of an answer to a question of a tree it is the logarithm of its share of all votes, for its output alone
    says nothing of the answers that lead to it.
    """

    output: int
    tree: VoteTree | None = None

    def __call__(self, raw: torch.Tensor) -> torch.Tensor:
        """Return the score of raw outputs (o,)."""
        if self.tree is None:
            return raw[..., self.output]
        within = log_within(raw.reshape(1, -1), self.tree)[0]
        return torch.stack([within[column] for column in self.tree.way(self.output)]).sum()


def grad_cam(
    network: Network,
    layer: Layer,
    pixels: U8,
    outputs: I64,
    *,
    preprocessing: Preprocessing,
    tree: VoteTree | None = None,
    batch_size: int = 32,
) -> F32:
    """Return Grad-CAM [1]_ of classes or answers on images, by the package grad-cam.

    Each channel of the layer is weighted by the mean gradient of the `Score`; what remains above 0 of their
    sum is the map.

    Parameters
    ----------
    pixels : (n, s, s, 3) uint8
        As `preprocessing` gives them.
    outputs : (n,)
        Which class or answer is explained.
    tree
        Of a network whose head can't contradict it.

    Returns
    -------
    (n, s, s) float32
        From 0 to 1, where the hottest place is; all 0 where nothing speaks for it.

    References
    ----------
    .. [1] Selvaraju et al. 2017, Grad-CAM, ICCV.
    """
    from pytorch_grad_cam import GradCAM

    device = next(network.parameters()).device
    cam = GradCAM(network, [layer.module(network)], reshape_transform=layer)
    found = []
    try:
        with progress("Grad-CAM", len(pixels), unit="images") as advance:
            for start in range(0, len(pixels), batch_size):
                stack = torch.from_numpy(pixels[start : start + batch_size]).to(device)
                # Weights that are not trained keep no gradients; the input's make them flow.
                x = preprocessing.normalize(stack).requires_grad_()
                targets = [Score(int(one), tree) for one in outputs[start : start + batch_size]]
                found.append(np.nan_to_num(np.asarray(cam(x, targets), np.float32)))
                advance(len(stack))
    finally:
        cam.activations_and_grads.release()
    return np.concatenate(found)


def probabilities(saved: SavedNetwork, pixels: U8, *, batch_size: int = 64) -> F64:
    """Return calibrated probabilities (n, c), or shares of votes, of images (n, s, s, 3) as preprocessed."""
    device = next(saved.network.parameters()).device
    said = []
    for start in range(0, len(pixels), batch_size):
        stack = torch.from_numpy(pixels[start : start + batch_size]).to(device)
        with torch.inference_mode():
            raw = saved.network(saved.about.preprocessing.normalize(stack))
            said.append(saved.answers(raw.float().cpu()).numpy())
    p: F64 = np.concatenate(said)
    return p if saved.about.temperature is None else scale(p, saved.about.temperature)


def attention(saved: SavedNetwork, pixels: U8) -> F32 | None:
    """Return the last block's attention (n, rows, columns), mean over heads; None of what has none."""
    model = saved.network.backbone
    if not has_class_attention(model):
        return None
    device = next(model.parameters()).device
    batches = (saved.about.preprocessing.normalize(torch.from_numpy(one[None]).to(device)) for one in pixels)
    try:
        found: F32 = class_attention(model, batches).mean(axis=1)
    except UsageError:  # its maps go without
        return None
    return found
