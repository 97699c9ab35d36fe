"""`embedkit compare`: is one feature file better than another, on the same images and splits?"""

from __future__ import annotations

import argparse
import contextlib
import io
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedkit import cli, console
from embedkit.cli import Handler
from embedkit.errors import EmbedkitError, UsageError

if TYPE_CHECKING:
    from embedkit.files.store import FeatureFile
    from embedkit.scoring.outcomes import Outcomes
    from embedkit.scoring.paired import Difference

OUTPUT = Path("runs/compare")


@dataclass(frozen=True)
class Measure:
    """What both files are scored by.

    Parameters
    ----------
    name
        In the verdict, before "accuracy".
    command
        The verb and its options.
    """

    name: str
    command: tuple[str, ...]


def measures(n_labels: int, n_draws: int) -> tuple[Measure, ...]:
    """Return what files are compared by; the last with few labels of each class, drawn several times."""
    few = ("--budget", str(n_labels), "--draws", str(n_draws))
    return (
        Measure("20-NN", ("probe", "--kind", "knn", "--n-neighbors", "20")),
        Measure("linear", ("probe", "--kind", "linear")),
        Measure("k-means", ("cluster", "--method", "kmeans")),
        Measure(f"{n_labels}-labels-a-class", ("probe", "--kind", "linear", *few)),
    )


@dataclass(frozen=True)
class Compared:
    """One measure of both files.

    Parameters
    ----------
    name
        Of the measure.
    a, b
        Accuracy of each.
    difference
        B minus A.
    p_holm
        Corrected over the measures.
    """

    name: str
    a: float
    b: float
    difference: Difference
    p_holm: float


def verdict(compared: Sequence[Compared], a: str = "A", b: str = "B", *, alpha: float = 0.05) -> str:
    """Say in one sentence which file is better at what, in points of accuracy."""
    better, worse, same = [], [], []
    for one in compared:
        low, high = one.difference.low, one.difference.high
        if one.p_holm > alpha:
            same.append(one.name)
        elif one.difference.value > 0:
            better.append(_points(one.name, one.difference.value, low, high))
        else:
            worse.append(_points(one.name, -one.difference.value, -high, -low))
    parts = [f"{b} is better than {a} by {_listed(better)}"] if better else []
    parts += [f"{a} is better than {b} by {_listed(worse)}"] if worse else []
    parts += [f"by {_listed(same)} accuracy they can't be told apart"] if same else []
    sentence = "; ".join(parts) + "."
    return sentence if better or worse else sentence[0].upper() + sentence[1:]


def sentence(one: Compared, a: str, b: str, *, alpha: float = 0.05) -> str:
    """Say what one measure shows."""
    d = one.difference
    if one.p_holm > alpha:
        value, low, high = (100 * x + 0.0 for x in (d.value, d.low, d.high))  # never -0.0
        by = f"{b} - {a}: {value:+.1f} points, {low:+.1f} to {high:+.1f}"
        return f"{one.name}: {a} and {b} can't be told apart ({by})."
    better, value, low, high = (b, d.value, d.low, d.high) if d.value > 0 else (a, -d.value, -d.high, -d.low)
    return (
        f"{one.name}: {better} is better by {100 * value:.1f} points ({100 * low:.1f} to {100 * high:.1f})."
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _points(name: str, value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} points of {name} accuracy ({100 * low:.1f} to {100 * high:.1f})"


def configure(parser: argparse.ArgumentParser) -> Handler:
    """Add the options of `embedkit compare`."""
    parser.add_argument("a", type=Path, metavar="A.h5", help="a feature file with labels")
    parser.add_argument("b", type=Path, metavar="B.h5", help="another one of the same images")
    parser.add_argument("--prep", metavar="STEPS", help="prepare both first, as in embedkit probe --prep")
    parser.add_argument("--prep-a", metavar="STEPS", help="prepare A so instead")
    parser.add_argument("--prep-b", metavar="STEPS", help="prepare B so instead")
    parser.add_argument("--split", default="kfold:5", metavar="HOW", help="as in embedkit probe --split")
    parser.add_argument("--seed", type=int, default=0, help="of the split and of k-means")
    parser.add_argument(
        "--labels", type=int, default=10, help="images a class of the few labels (default: 10)"
    )
    parser.add_argument("--draws", type=int, default=5, help="random draws of the few labels (default: 5)")
    parser.add_argument("--common", action="store_true", help="take the images that are in both files")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="folder for what it computes")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return run


def run(args: argparse.Namespace) -> int:
    """Run `embedkit compare`."""
    import numpy as np

    from embedkit.scoring.outcomes import compare_outcomes
    from embedkit.scoring.paired import holm

    for name in ("labels", "draws"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} {getattr(args, name)}: at least 1.")
    a, b = _same_images(args.a, args.b, args.output, common=args.common)
    preps = {"A": args.prep_a or args.prep, "B": args.prep_b or args.prep}
    split = args.output / "split.json"
    # The split is drawn once and kept by id. Few labels need one set of test rows where folds were asked for.
    kept = ["--split", args.split, "--save-split", str(split)]
    few = ["--split", "stratified" if args.split.startswith("kfold") else str(split)]
    found: list[tuple[str, float, float, Difference]] = []
    for measure in measures(args.labels, args.draws):
        scored: list[Outcomes] = []
        for side, file in (("A", a), ("B", b)):
            verb, *options = measure.command
            command = [verb, str(file), *options, "--seed", str(args.seed)]
            command += ["--prep", preps[side]] if preps[side] else []
            if "--budget" in options:
                command += few
            elif verb == "probe":
                command += kept
                kept = ["--split", str(split)]
            scored.append(_score(command, args.output / side))
        of_a, of_b = scored
        if of_a.rows != of_b.rows:
            raise EmbedkitError(
                f"{args.a} and {args.b}: their {measure.name} results are not of the same rows and classes. "
                "Extract both from the same dataset and labels."
            )
        found.append((measure.name, of_a.mean, of_b.mean, compare_outcomes([(of_a, of_b)], seed=args.seed)))
    adjusted = holm(np.array([difference.p for *_, difference in found]))
    compared = [Compared(*one, p_holm=float(p)) for one, p in zip(found, adjusted, strict=True)]
    names = (_name(args.a, preps["A"]), _name(args.b, preps["B"]))
    names = names if names[0] != names[1] else ("A", "B")
    overall = verdict(compared, *names)
    if args.json:
        files = {
            side: {"file": str(path), "prep": preps[side]} for side, path in (("A", args.a), ("B", args.b))
        }
        lines = [asdict(one) | {"sentence": sentence(one, *names)} for one in compared]
        console.print_json(files | {"measures": lines, "verdict": overall})
        return 0
    _print(compared, *names)
    print()
    for one in compared:
        print(sentence(one, *names))
    print(f"\n{overall}")
    return 0


def _name(path: Path, prep: str | None) -> str:
    return f"{path.stem} ({prep})" if prep else path.stem


def _score(command: list[str], folder: Path) -> Outcomes:
    """Run a verb, quiet on stdout, and read which images its result got right."""
    from embedkit.files.results import RESULTS_FILE, read_results
    from embedkit.scoring.outcomes import read_outcomes

    command = [*command, "-o", str(folder)]
    console.note(f"\n$ embedkit {shlex.join(command)}")
    lines = folder / RESULTS_FILE
    n_before = len(read_results(lines)) if lines.exists() else 0
    with contextlib.redirect_stdout(io.StringIO()):
        code = cli.main(command)
    if code:
        raise EmbedkitError(f"nothing to compare: `embedkit {command[0]}` ended with exit code {code}.")
    written = read_results(lines)[n_before:]
    if len(written) != 1:
        raise EmbedkitError(
            f"{lines}: {len(written)} new results where one was due. Does another command write there?"
        )
    (result,) = written
    try:
        return read_outcomes(result, folder)
    except EmbedkitError as error:
        raise EmbedkitError(f"{command[1]}: no accuracy to compare, because {error}.") from error


def _same_images(a: Path, b: Path, output: Path, *, common: bool) -> tuple[Path, Path]:
    """Return two files of the same images: those given, or copies of their common rows."""
    import numpy as np

    from embedkit.files.store import FeatureFile

    with FeatureFile(a) as first, FeatureFile(b) as second:
        ids = first.rows.ids[first.ok], second.rows.ids[second.ok]
        both = np.intersect1d(*ids)
        if len(both) == len(ids[0]) == len(ids[1]):
            if np.array_equal(*ids):
                return a, b
            # In A's order, so that the few labels that are drawn are of the same images.
            console.note(f"{b}: the same images as {a}, in another order; it is read in that of {a.name}.")
            return a, _rows_of(second, ids[0], output / "B" / b.name)
        if not common or not len(both):
            fix = "Take those with --common." if len(both) else "Give two files of the same images."
            raise EmbedkitError(
                f"{a} and {b}: {len(both):,} ids agree, of {len(ids[0]):,} and {len(ids[1]):,}. {fix}"
            )
        console.note(f"{len(both):,} images are in both files, of {len(ids[0]):,} and {len(ids[1]):,}.")
        return (
            _rows_of(first, both, output / "A" / a.name),
            _rows_of(second, both, output / "B" / b.name),
        )


def _rows_of(file: FeatureFile, ids: Any, path: Path) -> Path:
    import numpy as np

    from embedkit.files.store import Views, write_features

    row_of = {name: row for row, name in enumerate(file.rows.ids) if file.ok[row]}
    index = np.array([row_of[name] for name in ids])
    views = file.views
    if views is not None:
        views = Views(views.mean[index], views.within_covariance, views.n_views)
    return write_features(
        path, file.read(index), file.rows.take(index), provenance=file.provenance, views=views
    )


def _print(compared: Sequence[Compared], a: str, b: str) -> None:
    from rich.table import Table
    from rich.text import Text

    title = f"A = {a}, B = {b}: {compared[0].difference.n:,} images"
    table = Table(title=Text(title, style="bold"), title_justify="left", show_edge=False)
    for name in ("accuracy", "A", "B", "B - A", "95 % interval", "p (Holm)", "test"):
        table.add_column(name, justify="left" if name in ("accuracy", "test") else "right")
    for one in compared:
        d = one.difference
        interval = f"{d.low:+.3f} to {d.high:+.3f}"
        cells = [one.name, f"{one.a:.3f}", f"{one.b:.3f}", f"{d.value:+.3f}", interval, f"{one.p_holm:.2g}"]
        table.add_row(*cells, d.test)
    console.print_table(table)
