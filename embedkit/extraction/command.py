"""`embedkit extract`: the options of an extraction on the command line."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import console
from embedkit.cli import Handler
from embedkit.datasets import add_dataset_arguments, dataset_from_args
from embedkit.errors import UsageError

if TYPE_CHECKING:
    from embedkit.backbones.load import BackboneSpec
    from embedkit.extraction.extract import Extraction
    from embedkit.extraction.job import ExtractOptions


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit extract`."""
    add_dataset_arguments(parser)
    parser.add_argument("-o", "--output", type=Path, help="feature file to make (default: runs/DATASET.h5)")
    add_backbone_arguments(parser)
    group = parser.add_argument_group("features")
    group.add_argument("--layers", help="4: the last four blocks; b5-b8 or b3,b11: blocks counted from 0")
    group.add_argument("--pool", default="auto", help="auto, cls, patch, cls+patch, avg or model")
    group.add_argument(
        "--views", default="1", help="1, rot4, d4 or galaxy:N; features are averaged over them"
    )
    group.add_argument("--seed", type=int, default=0, help="seed of random views")
    group.add_argument("--storage", default="float32", help="float32 or float16 on disk")
    group = parser.add_argument_group("computing")
    group.add_argument("--precision", default="auto", help="auto, fp32, bf16 or fp16")
    group.add_argument("--batch-size", type=int, default=32, help="model inputs at a time")
    group.add_argument(
        "--workers", type=int, help="threads that read and decode (default: one a core, at most 16)"
    )
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    group.add_argument("--limit", type=int, help="take this many images, spread evenly over the dataset")
    group.add_argument(
        "--on-error", default="fail", help="fail at an unreadable image, or skip it and mark its row"
    )
    group.add_argument("--overwrite", action="store_true", help="replace a file that was made in another way")
    group.add_argument(
        "--shard", type=_shard, metavar="I/N", help="compute the I-th of N shares, counted from 0"
    )
    group.add_argument("--dry-run", action="store_true", help="show what would be done, and stop")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def add_backbone_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose a backbone and its preprocessing."""
    group = parser.add_argument_group("backbone")
    group.add_argument(
        "--backbone",
        default="vit_small_patch16_224.dino",
        help="timm name, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control",
    )
    group.add_argument("--weights", type=Path, help="checkpoint file instead of the published weights")
    group.add_argument("--adapter", type=Path, help="folder with a PEFT adapter")
    group.add_argument("--random-init", type=int, metavar="SEED", help="random weights, as a control")
    group = parser.add_argument_group("preprocessing (default: the backbone's own)")
    group.add_argument("--center-crop", type=int, metavar="PX", help="keep the central PX source pixels")
    group.add_argument("--image-size", type=int, metavar="PX", help="side of the model input")
    group.add_argument("--resize", type=int, metavar="PX", help="shorter side before the final crop")
    group.add_argument("--interpolation", help="nearest, bilinear, bicubic or lanczos")
    group.add_argument("--mean", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1]")
    group.add_argument("--std", type=float, nargs=3, metavar=("R", "G", "B"), help="of pixels in [0, 1]")


def backbone_from_args(args: argparse.Namespace) -> BackboneSpec:
    """Turn the options of `add_backbone_arguments` into a `BackboneSpec`."""
    from embedkit.backbones.load import BackboneSpec
    from embedkit.images.preprocess import Overrides

    return BackboneSpec(
        name=args.backbone,
        weights=args.weights,
        adapter=args.adapter,
        random_init=args.random_init,
        preprocessing=Overrides(
            image_size=args.image_size,
            resize=args.resize,
            center_crop=args.center_crop,
            interpolation=args.interpolation,
            mean=tuple(args.mean) if args.mean else None,
            std=tuple(args.std) if args.std else None,
        ),
    )


def run(args: argparse.Namespace) -> int:
    """Run `embedkit extract`."""
    from embedkit.extraction.extract import extract
    from embedkit.extraction.job import ExtractOptions

    names = ExtractOptions.__dataclass_fields__
    options = ExtractOptions(**{name: getattr(args, name) for name in names})
    backbone = backbone_from_args(args)
    dataset = dataset_from_args(args)
    output = args.output or Path("runs") / f"{dataset.name}.h5"
    if args.dry_run:
        plan = dry_run(dataset, output, backbone, options)
        console.print_json(plan) if args.json else _print_plan(plan)
        return 0
    done = extract(dataset, output, backbone=backbone, options=options)
    console.print_json(asdict(done)) if args.json else _print_done(done)
    return 0


def dry_run(dataset: Any, output: Path, backbone: BackboneSpec, options: ExtractOptions) -> dict[str, Any]:
    """Resolve everything that an extraction would do, and compute nothing."""
    import shutil

    import torch

    from embedkit.computing.device import describe_device, native_bf16
    from embedkit.extraction.job import Job
    from embedkit.extraction.parts import Parts

    job = Job.plan(dataset, backbone, options)
    size = job.backbone.preprocessing.image_size
    with torch.inference_mode():
        d = job.pooling(job.backbone, torch.zeros(1, 3, size, size)).shape[1]
    n = len(job.index)
    parts = Parts(output, n, job.views.n)
    item = 2 if options.storage == "float16" else 4
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    precision = options.precision
    if precision == "auto":
        precision = "bf16 if it agrees with fp32" if native_bf16(job.device) else "fp32"
    return {
        "dataset": dataset.name,
        "images": n,
        "views": job.views.name,
        "forward passes": n * job.views.n,
        "features": job.features_name,
        "dimensions": d,
        "preprocessing": job.backbone.preprocessing.record(),
        "weights": job.backbone.source,
        "device": describe_device(job.device),
        "precision": precision,
        "output": str(output),
        "exists": output.exists(),
        "parts finished": f"{len(parts.finished())} of {len(parts)}",
        "MiB to write": round(n * d * (item + (4 if job.views.n > 1 else 0)) / 2**20, 1),
        "MiB free": round(shutil.disk_usage(folder).free / 2**20),
    }


def _print_plan(plan: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What embedkit extract would do", show_header=False)
    for key, value in plan.items():
        if isinstance(value, dict):
            value = ", ".join(f"{name} {item}" for name, item in value.items())
        table.add_row(key, Text(str(value)))
    console.print_table(table)


def _print_done(done: Extraction) -> None:
    rate = f", {done.images_per_second:.1f} images/s" if done.images_per_second else ""
    failed = f", {done.n_failed} images skipped (reasons in the file)" if done.n_failed else ""
    if done.done != "waiting":
        print(f"{done.path}: {done.n} x {done.d} features {done.done} in {done.precision}{rate}{failed}.")


def _shard(text: str) -> tuple[int, int]:
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit()):
        raise UsageError(f"--shard {text}: give I/N, such as 0/8 for the first of eight.")
    return int(first), int(second)
