"""Extraction speed against the loop most people write, and against the bare forward pass.

    python benchmarks/extract.py FOLDER [--n 256] [--rounds 3] [--backbone vit_small_patch16_224]

FOLDER holds real image files. In each round, in turn: the common loop (timm, a DataLoader of PIL images,
fp32, batches of 32), `embedkit.extraction.extract` with every default, and the bare forward pass at the
precision that embedkit chose, its batch already in memory. Prints images/s and the two ratios, as medians
over the rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import PRECISIONS, choose_device, describe_device
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job, model_in
from embedkit.extraction.options import ExtractOptions


class Images(torch.utils.data.Dataset[torch.Tensor]):
    """What a tutorial shows: open, convert, transform."""

    def __init__(self, files: list[Path], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.files, self.transform = files, transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> torch.Tensor:
        return self.transform(Image.open(self.files[i]).convert("RGB"))


def common_loop(files: list[Path], name: str, device: torch.device) -> float:
    torch.manual_seed(0)
    model = timm.create_model(name, pretrained=False, num_classes=0).eval().to(device)
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    loader = torch.utils.data.DataLoader(Images(files, transform), batch_size=32, num_workers=2)
    started = time.perf_counter()
    features = []
    with torch.no_grad():
        for batch in loader:
            features.append(model(batch.to(device)).cpu())
    torch.cat(features)
    return len(files) / (time.perf_counter() - started)


def ours(dataset: Dataset, name: str, folder: Path, options: ExtractOptions) -> tuple[float, str]:
    spec = BackboneSpec(name, random_init=0)
    done = extract(dataset, folder / "features.h5", backbone=spec, options=options)
    assert done.images_per_second is not None  # as the file is new
    return done.images_per_second, done.precision


def bare_forward(dataset: Dataset, name: str, precision: str, options: ExtractOptions) -> float:
    """The model alone, on one batch that is there already, for about as long as the others take."""
    job = Job.plan(dataset, BackboneSpec(name, random_init=0), options)
    model = model_in(job.backbone, precision, job.device).model
    size = job.backbone.preprocessing.image_size
    x = torch.randn(options.batch_size, 3, size, size, device=job.device).to(PRECISIONS[precision])

    def synchronize() -> None:
        if job.device.type == "cuda":
            torch.cuda.synchronize()

    with torch.inference_mode():
        for _ in range(2):
            model(x)
        synchronize()
        rounds = max(2, (options.limit or len(dataset)) // options.batch_size)
        started = time.perf_counter()
        for _ in range(rounds):
            model(x)
        synchronize()
    return rounds * options.batch_size / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--workers", type=int)
    args = parser.parse_args()

    options = ExtractOptions(limit=args.n, batch_size=args.batch_size, workers=args.workers)
    try:
        whole = load_dataset(str(args.folder))
    except EmbedkitError as error:
        parser.error(str(error))
    device = choose_device("auto")
    index = np.linspace(0, len(whole) - 1, args.n).round().astype(int)
    files = [args.folder / str(whole.rows.ids[i]) for i in index]
    print(
        f"{args.n} images of {args.folder.name}, {args.backbone}, {describe_device(device)}, "
        f"torch {torch.__version__}"
    )
    rates: dict[str, list[float]] = {"common loop, fp32": [], "embedkit extract": [], "bare forward": []}
    for _ in range(args.rounds):
        rates["common loop, fp32"].append(common_loop(files, args.backbone, device))
        with tempfile.TemporaryDirectory() as folder:
            rate, precision = ours(whole, args.backbone, Path(folder), options)
        rates["embedkit extract"].append(rate)
        rates["bare forward"].append(bare_forward(whole, args.backbone, precision, options))
    for name, values in rates.items():
        print(
            f"{name:20s} {statistics.median(values):8.1f} images/s  ({', '.join(f'{v:.1f}' for v in values)})"
        )
    pairs = zip(rates["embedkit extract"], rates["common loop, fp32"], rates["bare forward"], strict=True)
    against = [(us / loop, us / bare) for us, loop, bare in pairs]
    print(f"embedkit ({precision}) / common loop:  {statistics.median(a for a, _ in against):.2f}")
    print(f"embedkit / bare forward ({precision}): {statistics.median(b for _, b in against):.3f}")


if __name__ == "__main__":
    main()
