"""`embedkit pretrain`: adapt a backbone, or train one, on images without labels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from embedkit import console
from embedkit.cli import Handler
from embedkit.datasets import add_dataset_arguments, dataset_from_args
from embedkit.errors import UsageError
from embedkit.extraction.command import add_backbone_arguments, backbone_from_args
from pretrain.options import CENTERINGS, LORA_TARGETS, METHODS, NOISES, PRESETS, LoRA, PretrainOptions


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit pretrain`."""
    add_dataset_arguments(parser)
    add_backbone_arguments(parser)
    default = PretrainOptions()
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/pretrain"), help="folder to make")
    group = parser.add_argument_group("training")
    group.add_argument("--method", default=default.method, help=", ".join(METHODS))
    group.add_argument("--view-preset", dest="views", default=default.views, help=", ".join(PRESETS))
    group.add_argument("--noise", default=default.noise, help="of galaxy views: " + ", ".join(NOISES))
    group.add_argument("--epochs", type=int, default=default.epochs)
    group.add_argument("--batch-size", type=int, default=default.batch_size)
    group.add_argument(
        "--accumulate", type=int, default=default.accumulate, help="parts of a batch, to save memory"
    )
    group.add_argument("--local-views", type=int, default=default.local_views, help="DINO: small crops")
    group.add_argument("--local-size", type=int, default=default.local_size, help="their side in pixels")
    group.add_argument("--lr", type=float, help="peak learning rate (default: 1e-3 with LoRA, else 5e-4)")
    group.add_argument("--weight-decay", type=float, default=default.weight_decay)
    group.add_argument("--momentum", type=float, help="of the teacher (default: fits the number of steps)")
    group.add_argument("--prototypes", type=int, default=default.prototypes, help="DINO: outputs of the head")
    group.add_argument("--centering", default=default.centering, help="DINO: " + ", ".join(CENTERINGS))
    group.add_argument(
        "--teacher-temperature", type=float, default=default.teacher_temperature, help="DINO: the final one"
    )
    group.add_argument("--koleo", type=float, default=default.koleo, help="weight of KoLeo")
    group.add_argument("--clip", type=float, default=default.clip, help="largest norm of the gradient")
    group.add_argument("--held-out", type=int, default=default.held_out, help="images for the monitors")
    group.add_argument(
        "--monitor-every", type=int, default=default.monitor_every, help="epochs between looks"
    )
    group.add_argument("--patience", type=int, help="stop after N looks without a better epoch")
    group.add_argument("--lora-rank", type=int, default=default.lora.rank)
    group.add_argument("--lora-alpha", type=int, default=default.lora.alpha, help="at least the rank")
    group.add_argument("--lora-blocks", type=int, help="adapt the last N blocks only")
    group.add_argument("--lora-targets", default=default.lora.targets, help=", ".join(LORA_TARGETS))
    group.add_argument(
        "--train-norms", action="store_true", help="normalisations too, beside LoRA or last blocks"
    )
    group.add_argument(
        "--unfreeze-blocks",
        type=int,
        metavar="N",
        help="train the last N blocks in full (alone, or beside LoRA)",
    )
    group.add_argument("--seed", type=int, default=default.seed)
    group.add_argument("--device", default=default.device)
    group.add_argument("--shard", action="store_true", help="torchrun: spread the weights over the processes")
    group.add_argument("--merge", action="store_true", help="low-rank methods: write a plain checkpoint too")
    parser.add_argument("--show-views", action="store_true", help="write views.png and train nothing")
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit pretrain`."""
    from pretrain import ranks

    lora = LoRA(args.lora_rank, args.lora_alpha, args.lora_blocks, args.lora_targets)
    names = set(PretrainOptions.__dataclass_fields__) - {"lora"}
    options = PretrainOptions(lora=lora, **{name: getattr(args, name) for name in names})
    if options.low_rank and args.random_init is not None:
        raise UsageError(
            f"--random-init with {options.method}: low-rank updates of random weights learn nothing. Give "
            "trained weights, or --method dino or vicreg to train them all."
        )
    if args.merge and not options.low_rank:
        raise UsageError("--merge is for low-rank methods; others write a plain checkpoint already.")
    if args.adapter is not None:
        raise UsageError("--adapter: merge it first, and give the merged file with --weights.")
    if args.show_views and ranks.launched() > 1:
        raise UsageError("--show-views trains nothing. Start it without torchrun.")
    with ranks.joined():
        _train(args, options)
    return 0


def _train(args: argparse.Namespace, options: PretrainOptions) -> None:
    from embedkit.backbones.checkpoints import sizeless_sha256
    from embedkit.backbones.load import load_backbone
    from pretrain import ranks
    from pretrain.artefact import merge, save_adapter, save_checkpoint
    from pretrain.cache import read_frames
    from pretrain.choice import sentence, verdict
    from pretrain.contact_sheet import contact_sheet
    from pretrain.journal import describe
    from pretrain.page import draw_page
    from pretrain.trainer import Run

    dataset = dataset_from_args(args)
    backbone = load_backbone(backbone_from_args(args))
    frames = read_frames(dataset, backbone.preprocessing)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.show_views:
        path = args.output / "views.png"
        contact_sheet(frames, options, backbone.preprocessing).save(path)
        console.note(f"{path}: a row an image; the image itself, then five views.")
        return
    trained = Run(backbone, frames, options, args.output, labels=dataset.rows.labels).train()
    if ranks.rank():
        return
    base = backbone.record() | {"sizeless_sha256": sizeless_sha256(backbone.model.state_dict())}
    for which, ending in (("last", "-last"), ("chosen", "")):
        model = trained.load(which)
        if options.low_rank:
            save_adapter(model, args.output / f"adapter{ending}", base=base)
        if not options.low_rank or args.merge:
            write = merge if args.merge else save_checkpoint
            write(model, args.output / f"model{ending}.safetensors")
    record = verdict(trained.log)
    (args.output / "chosen.json").write_text(json.dumps(record, indent=2) + "\n")
    console.note(sentence(record))
    after = f"--weights {args.output / 'model.safetensors'}"
    if options.low_rank:
        after = f"--adapter {args.output / 'adapter'}"
    page = draw_page(
        trained.log,
        record,
        sheet=contact_sheet(frames, options, backbone.preprocessing),
        asked=describe(options),
        base=base,
        after=after,
    )
    (args.output / "report.html").write_text(page)
    console.note(f"{args.output / 'report.html'}: curves, views and options.")
    if options.low_rank:
        console.note(f"`embedkit extract {after}` takes it, with the same backbone and weights.")
    if not options.low_rank or args.merge:
        made = args.output / "model.safetensors"
        console.note(f"{made}: give it to `embedkit extract --weights`, with --backbone {backbone.name}.")
