"""Extraction on a GPU against the bare compiled forward pass, from HDF5 and from JPEGs.

    python benchmarks/card.py [--n 17736] [--times 4] [--n-files 4096] [--n-views 4096] [--batch-size 256]

Draws some galaxies and repeats them, turned and with noise, in an HDF5 file of uint8 (n, 256, 256, 3) and
in a folder of JPEGs. The file holds them `--times` times, because 17,736 are through in a second, most of
it a start; what is slower takes `--n-views` of them. Prints images/s of the bare forward pass of
vit_small_patch16_224 (random weights, compiled, bf16, its batch already on the card: warm, the median of
some), of `embedkit extract` of each source behind its first batch, the share of the bare rate that it
reached, what bound it, the seconds until the first batch was done and in all, and the lowest cosine to
features that a CPU computes in fp32. Needs no data, and 18 GB of disk; without a card it shows the same on
small numbers (--n 64 --times 2 --batch-size 8).
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image

from embedkit.backbones.options import BackboneSpec
from embedkit.computing.device import PRECISIONS, choose_device, describe_device
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import load_dataset
from embedkit.datasets.simulated import SimulatedImages
from embedkit.extraction.extract import extract
from embedkit.extraction.job import Job, forward, load_image, model_in
from embedkit.extraction.options import ExtractOptions
from embedkit.files.store import FeatureFile

SIZE, DRAWN, COMPARED, TIMED = 256, 64, 64, 20


def galaxies(n: int) -> np.ndarray:
    """(n, 256, 256, 3) uint8: drawn ones, then the same with another turn and other noise."""
    drawn = SimulatedImages(SIZE, 0)
    some = np.stack([drawn.read(row) for row in range(DRAWN)])
    noise = np.random.default_rng(0).integers(0, 8, (SIZE, SIZE, 3), dtype=np.uint8)
    out = np.empty((n, SIZE, SIZE, 3), np.uint8)
    for row in range(n):
        turned = np.rot90(some[row % DRAWN], row // DRAWN % 4)
        out[row] = np.minimum(turned, 247) + np.roll(noise, row, axis=0)
    return out


def bare(spec: BackboneSpec, dataset: Dataset, batch_size: int, precision: str) -> float:
    """Images/s of the model alone, compiled, on one batch that is there already."""
    job = Job.plan(dataset, spec, ExtractOptions(limit=1))
    backbone = model_in(job.backbone, precision, job.device)
    network = torch.compile(lambda x: job.pooling(backbone, x), dynamic=False)
    size = backbone.preprocessing.image_size
    x = torch.randn(batch_size, 3, size, size, device=job.device).to(PRECISIONS[precision])
    cuda = job.device.type == "cuda"
    found = []
    with torch.inference_mode():
        for _ in range(5 + TIMED if cuda else 3):
            started = time.perf_counter()
            network(x)
            if cuda:
                torch.cuda.synchronize()
            found.append(time.perf_counter() - started)
    return batch_size / statistics.median(found[5 if cuda else 1 :])


def agreement(
    source: Dataset, file: Path, spec: BackboneSpec, options: ExtractOptions, n: int
) -> tuple[float, float]:
    """Lowest cosine of `n` rows to fp32 features of a CPU and of Pillow, and the same around their mean.

    The latter is the strict one: random weights give all images nearly the same direction. Views that the
    card drew are held against the same views, their noise included.
    """
    job = Job.plan(
        source, spec, dataclasses.replace(options, device="cpu", prepare_with="auto", compile="off")
    )
    with FeatureFile(file) as ours:
        draws = ours.provenance["precision_used"].get("views") == "torch"
    job = dataclasses.replace(job, backbone=model_in(job.backbone, "fp32", job.device), draws=draws)
    rows = np.unique(np.linspace(0, len(job.index) - 1, n).round().astype(int))
    images = [torch.tensor(load_image(job, int(job.index[row]))) for row in rows]
    b = np.stack([forward(job, views, "fp32").mean(dim=0).numpy() for views in images])
    with FeatureFile(file) as ours:
        a = ours.read(rows)
    return _lowest(a, b), _lowest(a - b.mean(axis=0), b - b.mean(axis=0))


def _lowest(a: np.ndarray, b: np.ndarray) -> float:
    return float(((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=17_736)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--n-files", type=int, default=4_096)
    parser.add_argument("--n-views", type=int, default=4_096)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--backbone", default="vit_small_patch16_224")
    args = parser.parse_args()

    device = choose_device("auto")
    precision = "bf16" if device.type == "cuda" else "fp32"
    spec = BackboneSpec(args.backbone, random_init=0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = galaxies(args.n)
        n_few = min(args.n, args.n_views)
        for title, some, times in (("galaxies", pixels, args.times), ("few", pixels[:n_few], 1)):
            with h5py.File(folder / f"{title}.h5", "w") as file:
                images = file.create_dataset("images", (times * len(some), *some.shape[1:]), np.uint8)
                for at in range(0, len(images), len(some)):
                    images[at : at + len(some)] = some
        files = folder / "files"
        files.mkdir()
        n_files = min(args.n, args.n_files)

        def save(row: int) -> None:
            Image.fromarray(pixels[row]).save(files / f"{row:06d}.jpg", quality=90)

        with ThreadPoolExecutor() as pool:
            list(pool.map(save, range(n_files)))
        stacked, few = (load_dataset(str(folder / f"{title}.h5")) for title in ("galaxies", "few"))
        alone = bare(spec, stacked, args.batch_size, precision)
        print(
            f"{args.backbone}, {precision}, batches of {args.batch_size}, {describe_device(device)}, "
            f"torch {torch.__version__}"
        )
        print(f"{'bare compiled forward':28s} {alone:10.1f} passes/s")
        common = ExtractOptions(precision=precision, batch_size=args.batch_size, compile="on")
        cases = {
            "HDF5": (stacked, common),
            "HDF5, not compiled": (stacked, dataclasses.replace(common, compile="off")),
            "HDF5, resized by Pillow": (few, dataclasses.replace(common, prepare_with="pillow")),
            "JPEG files": (load_dataset(str(files)), common),
            "HDF5, galaxy:4": (few, dataclasses.replace(common, views="galaxy:4")),
        }
        for title, (source, options) in cases.items():
            started = time.perf_counter()
            output = folder / f"{title}.h5"
            done = extract(source, output, backbone=spec, options=options)
            whole = time.perf_counter() - started
            rate, bound = done.images_per_second, done.bound.words if done.bound else ""
            assert rate is not None  # as the file is new
            v = 4 if options.views != "1" else 1
            print(
                f"{title:28s} {rate:10.1f} images/s  "
                f"{rate * v / alone:6.1%} of bare  {bound}  "
                f"{done.beginning:.1f} s to begin, {whole:.1f} s in all for {done.n:,}",
                end="  ",
                flush=True,
            )
            # Behind the line, because a CPU takes its time, for views the longer.
            cosine, centred = agreement(source, output, spec, options, COMPARED // v)
            print(f"cosine {cosine:.5f}, centred {centred:.4f}")


if __name__ == "__main__":
    main()
