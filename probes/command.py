"""The options of `embedkit probe`, and which of them go together."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from embedkit.errors import UsageError
from embedkit.options import DEVICES
from probes.kinds.registry import PROBES
from probes.kinds.selection import SELECT
from probes.options import DEDUPE, SPLIT_NAMES, ProbeOptions

OUTPUT = "runs"
# Options that don't go together: with the first, none of the others, and why.
ALONE = {
    "budget": (
        ("seeds", "save_model", "save_split", "refit"),
        "which fits many probes, without validation rows",
    ),
    "seeds": (("save_model", "save_split", "plot"), "which fits a probe a seed"),
}


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit probe``."""
    parser.add_argument("features", help="a feature file with labels, from `embedkit extract`")
    parser.add_argument("--kind", choices=tuple(PROBES), default="linear", help="which probe")
    parser.add_argument(
        "--split",
        default="auto",
        metavar="HOW",
        help=f"{', '.join(SPLIT_NAMES)}; auto takes the file's own, else by group, else stratified",
    )
    parser.add_argument(
        "--prep",
        default="none",
        metavar="STEPS",
        help="prepare the features first: none, l2, pca95, whiten30, view-whiten, ..., joined with +; fitted "
        "on the training rows",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split, and of the probe")
    parser.add_argument(
        "--fractions",
        type=float,
        nargs=3,
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="of the rows (default: 0.7 0.15 0.15); with a given test set, the first two divide the rest",
    )
    parser.add_argument(
        "--select",
        choices=tuple(SELECT),
        help="what validation rows choose settings by (default: accuracy; RMSE of targets)",
    )
    parser.add_argument(
        "--refit", action="store_true", help="after the choice, fit on training and validation rows together"
    )
    parser.add_argument(
        "--class-weight",
        choices=("balanced",),
        help="weigh rows so that every class counts the same (default: every row does)",
    )
    parser.add_argument(
        "--device", choices=DEVICES, help="where to compute (default: cpu; auto takes a GPU if there is one)"
    )
    _add_settings(parser)
    _add_protocol(parser)
    parser.add_argument("--save-model", metavar="FILE", help="keep the fitted probe, for --apply FILE")
    parser.add_argument(
        "--apply",
        metavar="MODEL",
        help="fit nothing: predict every row with a probe of --save-model; -o FILE.csv names the predictions",
    )
    parser.add_argument(
        "--plot", metavar="FILE.svg", help="draw the reliability curve or, with --budget, the learning curve"
    )
    parser.add_argument("--save-split", metavar="FILE.json", help="keep the split, for --split FILE.json")
    parser.add_argument("-o", "--output", default=OUTPUT, help="folder for results.jsonl and predictions")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of tables")

    def handle(args: argparse.Namespace) -> None:
        from probes import calls  # with h5py and SciPy, on use

        given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
        if args.apply:
            calls.run_apply(args, given)
            return
        _check(args, given)
        calls.run(args, read_options(args))

    return handle


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """Add every probe's own options, one flag for those of the same name."""
    group = parser.add_argument_group("settings of one probe")
    by_name: dict[str, list[tuple[str, Any]]] = {}
    for kind, entry in PROBES.items():
        for option in entry.options:
            by_name.setdefault(option.name, []).append((kind, option))
    for name, found in by_name.items():
        option = found[0][1]
        help_ = "; ".join(f"{kind}: {o.help}" for kind, o in found)
        flag = f"--{name.replace('_', '-')}"
        if option.flag:
            group.add_argument(flag, action="store_true", default=None, help=help_)
        else:
            several: dict[str, Any] = {"nargs": "+"} if option.many else {}
            group.add_argument(flag, type=option.type, choices=option.choices, help=help_, **several)


def _add_protocol(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("protocol")
    group.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="repeat with N seeds from --seed on: a result each, and their mean and spread",
    )
    group.add_argument(
        "--budget",
        metavar="N,P%,...",
        help="few labels: numbers of training images a class (1,5,10) and percentages of them (1%%,100%%); "
        "settings are chosen by cross-validation among them",
    )
    group.add_argument("--draws", type=int, help="random draws of each budget (default: 5)")
    group.add_argument(
        "--leaks", action="store_true", help="before any score, say which test images are trained on as well"
    )
    group.add_argument(
        "--dedupe",
        choices=DEDUPE,
        help="drop: leave copies of later parts out of training and validation; group: move copies to where "
        "the first is; with the score before and after",
    )


def _check(args: argparse.Namespace, given: Sequence[str]) -> None:
    """Refuse options that have no say in this call."""
    for name, (others, why) in ALONE.items():
        for other in others:
            if name in given and other in given:
                raise UsageError(f"{_flag(other)} is not for {_flag(name)}, {why}. Leave it out.")
    if "draws" in given and "budget" not in given:
        raise UsageError("--draws says how often a --budget is drawn, and none is given. Leave it out.")
    if "seeds" in given and args.seeds < 2:
        raise UsageError(f"--seeds {args.seeds}: at least 2, or --seed for one.")
    if "plot" in given and PROBES[args.kind].regression and "budget" not in given:
        raise UsageError(
            f"--plot draws a reliability curve of classes, and --kind {args.kind} gives targets. Leave it "
            "out, or give --budget for a learning curve."
        )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def read_options(args: argparse.Namespace) -> ProbeOptions:
    """Make of the parsed flags what `probe` takes."""
    names = {option.name for entry in PROBES.values() for option in entry.options}
    given = {name: getattr(args, name) for name in sorted(names) if getattr(args, name) is not None}
    return ProbeOptions(
        kind=args.kind,
        split=args.split,
        seed=args.seed,
        fractions=None if args.fractions is None else tuple(args.fractions),
        select=args.select,
        refit=args.refit,
        settings={name: tuple(v) if isinstance(v, list) else v for name, v in given.items()},
        prep=args.prep,
        class_weight=args.class_weight,
        device=args.device,
        dedupe=args.dedupe,
    )
