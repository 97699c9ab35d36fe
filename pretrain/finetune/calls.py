"""What one call of `embedkit finetune` does: the frozen probe first, then training, then what it bought."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from embedkit import console
from embedkit.backbones.load import Backbone, load_backbone
from embedkit.backbones.options import DEFAULT_BACKBONE, BackboneSpec
from embedkit.backbones.saved_network import WEIGHTS
from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import open_dataset
from embedkit.datasets.options import DatasetOptions
from embedkit.errors import UsageError
from embedkit.files.aside import write_text
from embedkit.files.guard import check_outputs, guarded
from embedkit.files.regular import check_folder
from embedkit.files.results import Result
from embedkit.images.options import Overrides
from embedkit.options import RUNS, as_words
from embedkit.scoring.metrics import title, value_of
from embedkit.scoring.outcomes import compare_outcomes, read_outcomes
from embedkit.scoring.paired import ALPHA, Difference
from embedkit.workflows.step import Step
from pretrain import ranks
from pretrain.finetune.curriculum import normal, sentences
from pretrain.finetune.options import MODEL, PLACE, FinetuneCall, FinetuneOptions, FinetunePlaces
from pretrain.finetune.page import draw_page
from pretrain.finetune.planned import check_batches, phase_of
from pretrain.finetune.recipe import Recipe, read_recipe, recipe_text
from pretrain.finetune.report import Finetuned, FinetuneReport
from pretrain.finetune.run import Material, train
from pretrain.finetune.sweep_plan import Sweep
from pretrain.finetune.truth import confidence
from pretrain.finetune.variants import Variant, Variants
from pretrain.over_seeds import check_alone

FROZEN = "frozen.h5"
# What the run of one seed leaves in its folder.
OF_ONE_SEED = (MODEL, "phase-1", "fold-1")
# Of a recipe whose weights are drawn at random, what its frozen features would be is no measure of anything.
CONTROL = "pixels:32"


@guarded(FinetunePlaces)
def finetune(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    data: DatasetOptions = DatasetOptions(),
    backbone: BackboneSpec = BackboneSpec(),
    preprocessing: Overrides = Overrides(),
    options: FinetuneCall = FinetuneCall(),
) -> Finetuned | Variants:
    """Train a network on labels or votes by a recipe, and say what that bought over its frozen features.

    The same call again goes on from the last finished epoch. Under torchrun every process trains its share
    of each batch.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The folder to make; ``runs/RECIPE`` by default.
    data
        Options of the dataset's source.
    backbone, preprocessing
        Another start, or another input, than the recipe's.
    options
        The recipe, the split, and what differs from them.

    Returns
    -------
    Finetuned or Variants
        Networks, scores, and the comparison; the second with ``sweep`` or ``beside_normal``. Under torchrun,
        the first process's; others return no report.

    Raises
    ------
    UsageError
        A recipe that can't be read, or options that exclude each other.
    EmbedkitError
        Labels that can't be learnt, weights that can't be had, a loss that is not finite, or a folder with a
        run of other options.
    """
    recipe, name = read_recipe(options.recipe), Path(options.recipe).stem
    folder = RUNS / name if output is None else Path(output)
    check_outputs("-o", {folder: PLACE}, dataset, data, backbone, options)
    check_alone(folder, options.seeds, OF_ONE_SEED)
    check_folder(folder)
    with ranks.joined():
        with console.said_once():  # the probe loads the same network, of the same images
            images = open_dataset(dataset, data)
            spec = start_of(recipe, backbone, preprocessing, options)
            loaded = load_backbone(spec)
            if not ranks.rank():
                _say_start(loaded, name)
            source = dataset.name if isinstance(dataset, Dataset) else os.fspath(dataset)
            words = as_words(data, replace(backbone, preprocessing=Overrides()), preprocessing, options)
            command = shlex.join(["embedkit", "finetune", source, *words, "-o", str(folder)])
            material = replace(Material.read(images, loaded, recipe, name, options), command=command)
            variants = _variants(material, options)
            frozen: tuple[Result, ...] = ()
            if options.probe:
                features = _frozen(images, spec, options, folder)
                frozen = () if ranks.rank() else _probe(material, features, options, folder)
        for variant in variants:
            check_alone(folder / variant.folder, options.seeds, OF_ONE_SEED)
        # Of a curriculum and of normal training, the phases have their epochs already.
        how = replace(options, phase_epochs=None) if options.beside_normal else options
        taught = [
            Taught(replace(material, recipe=v.recipe, name=f"{name}-{v.folder}"), folder / v.folder, v.note)
            for v in variants
        ] or [Taught(material, folder)]
        runs = [
            _told(one, how, Finetuned(one.path, tuple(reports), frozen), folder)
            for one, reports in zip(taught, _over_seeds(taught, how), strict=True)
        ]
    if not variants or not runs[0].reports:
        return runs[0]
    made = Variants.of(folder, options.key, variants, runs)
    return replace(made, more=sentences(made.curves())) if options.beside_normal else made


def _variants(material: Material, options: FinetuneCall) -> list[Variant]:
    if options.beside_normal:
        return beside_normal(material, options)
    return [] if options.swept is None else swept(material, options.swept, options)


def beside_normal(material: Material, options: FinetuneCall) -> list[Variant]:
    """Return a curriculum, and normal training with as many images seen, by the rows of the first split.

    Raises
    ------
    UsageError
        The recipe has no curriculum, or batches that the images don't fill.
    DataError
        There are no votes that say how sure a label is.
    """
    recipe = material.recipe
    phases = [phase_of(recipe, options, number) for number in range(len(recipe.phases))]
    splits = material.splits(options, [])
    if len(splits) > 1:
        raise UsageError(
            f"--beside-normal takes runs for independent, and the {len(splits)} folds of a seed share "
            "images. Give --split stratified, and several --seeds."
        )
    train = splits[0].train
    shares = [1.0] * len(phases)
    if any(phase.rows != "all" for phase in phases):
        sure = confidence(material.truth, material.images.rows)[train]
        shares = [1.0 if p.rows == "all" else float(p.confidence.of(sure).mean()) for p in phases]
    plain = normal(recipe, phases, shares)
    check_batches(plain, replace(options, phase_epochs=None), [len(train)] * len(plain.phases))
    epochs = "+".join(str(phase.epochs) for phase in plain.phases)
    return [
        Variant("curriculum", "curriculum", replace(recipe, phases=tuple(phases)), "Curriculum."),
        Variant("normal", "normal", plain, f"Normal training: all rows at once, {epochs} epochs."),
    ]


def swept(material: Material, sweep: Sweep, options: FinetuneCall) -> list[Variant]:
    """Return what a sweep trains, each value checked before any of them is trained.

    Raises
    ------
    UsageError
        A value that the recipe can't have, or batches that the images don't fill.
    """
    found = [
        Variant(
            value,
            f"{sweep.key}={value}",
            sweep.recipe(material.recipe, value),
            f"{sweep.key} = {value}, in place of what the recipe says.",
        )
        for value in sweep.values
    ]
    for one in options.each():
        for variant in found:
            check_batches(variant.recipe, one, material.phase_rows(variant.recipe, material.splits(one, [])))
    return found


@dataclass(frozen=True)
class Taught:
    """What is trained with each seed.

    Parameters
    ----------
    material
        Images, recipe and network.
    path
        The folder.
    note
        How the recipe differs from what was read.
    """

    material: Material
    path: Path
    note: str = ""

    def place(self, options: FinetuneCall, seed: int) -> Path:
        """Return the folder of one seed."""
        return self.path if options.seeds == 1 else self.path / f"seed-{seed}"


def _over_seeds(taught: Sequence[Taught], options: FinetuneCall) -> list[list[FinetuneReport]]:
    """Train each with each seed: all of them with one before the next, as their times are compared."""
    reports: list[list[FinetuneReport]] = [[] for _ in taught]
    for one in options.each():
        for variant, done in zip(taught, reports, strict=True):
            seed = f"Seed {one.seed}. " if options.seeds > 1 else ""
            if seed or variant.note:
                console.note(f"{seed}{variant.note}".strip())
            place = variant.place(options, one.seed)
            report = train(variant.material, one, place)
            if report is not None:
                done.append(report)
    return reports


def _told(taught: Taught, options: FinetuneCall, made: Finetuned, folder: Path) -> Finetuned:
    """Say what training bought over the frozen probe, which lies in a folder, and draw the page."""
    if not made.reports:
        return made
    text = (f"# {taught.note}\n" if taught.note else "") + recipe_text(options.recipe)
    write_text(made.path / "recipe.toml", text)
    made = compared(made, folder) if made.frozen else made
    page = draw_page(
        made.reports,
        sentence=made.sentence,
        sheet=taught.material.sheet(options.seed),
        recipe=text,
        called=taught.material.command,
        commands=after(made.model, taught.material.backbone),
    )
    write_text(made.page, page)
    return made


def after(model: Path, backbone: Backbone) -> tuple[str, ...]:
    """Return what to do with a network, as commands."""
    own = backbone.preprocessing
    size = f"--image-size {own.image_size}"
    size += f" --center-crop {own.center_crop}" if own.center_crop else f" --resize {own.resize}"
    return (
        f"embedkit predict {model} NEW_IMAGES -o predicted.csv",
        f"embedkit extract IMAGES --backbone {backbone.name} --weights {model / WEIGHTS} {size} -o after.h5",
        "embedkit leaderboard runs",
    )


def start_of(
    recipe: Recipe, backbone: BackboneSpec, preprocessing: Overrides, options: FinetuneOptions
) -> BackboneSpec:
    """Return where training starts: the recipe's backbone, or the one that was given.

    Raises
    ------
    UsageError
        An adapter.
    """
    if backbone.adapter is not None:
        raise UsageError("--adapter: merge it first, and give the merged file with --weights.")
    name = recipe.backbone if backbone.backbone == DEFAULT_BACKBONE else backbone.backbone
    random_init = backbone.random_init
    if random_init is None and recipe.weights == "random" and backbone.weights is None:
        random_init = options.seed
    given = {key: value for key, value in vars(preprocessing).items() if value is not None}
    own = {key: value for key, value in vars(recipe.overrides()).items() if value is not None}
    if "resize" in given or "center_crop" in given:
        own = {key: value for key, value in own.items() if key not in ("resize", "center_crop")}
    return BackboneSpec(name, backbone.weights, None, random_init, Overrides(**(own | given)))


def _say_start(backbone: Backbone, name: str) -> None:
    n = sum(p.numel() for p in backbone.model.parameters())
    where = {"hub": "published weights"}.get(backbone.source, backbone.source)
    if backbone.source.startswith("random "):
        where = f"random weights of seed {backbone.source.removeprefix('random ')}"
    console.note(
        f"{name}: {backbone.name}, {n:,} parameters, from {where}; images of "
        f"{backbone.preprocessing.image_size} pixels."
    )


def _frozen(images: Dataset, spec: BackboneSpec, options: FinetuneCall, folder: Path) -> Path:
    """Extract the features of the frozen start; every process computes its share."""
    backbone, changes = replace(spec, preprocessing=Overrides()), vars(spec.preprocessing)
    if spec.random_init is not None:
        console.note(f"The start is random, so what training is held against is a probe of {CONTROL}.")
        backbone, changes = BackboneSpec(CONTROL), {}
    given = {name: value for name, value in (vars(backbone) | changes).items() if name != "preprocessing"}
    step = Step.make("extract", "", device=options.device, **given)
    path: Path = replace(step, output=str(folder / FROZEN)).call(images).path
    return path


def _probe(material: Material, features: Path, options: FinetuneCall, folder: Path) -> tuple[Result, ...]:
    """Probe the features of the frozen start on the very split, and look for copies across it."""
    votes = material.truth.y.ndim == 2
    kind = {"kind": "ridge", "clip": True, "targets": options.targets} if votes else {"kind": "linear"}
    probe = Step.make(
        "probe",
        features,
        split=options.split,
        fractions=options.fractions,
        seed=options.seed,
        seeds=options.seeds,
        leaks=not votes,
        output=folder,
        **kind,
    )
    console.note(f"Frozen: {probe}")
    found = probe.call()
    if found.leaks is not None:
        across = sum(one.test_rows or 0 for one in found.leaks.found.values())
        n_test = sum(len(split.test) for split in found.leaks.splits)
        console.note(f"Copies: {across:,} of {n_test:,} test images have one in training or validation.")
    results: tuple[Result, ...] = found.results
    return results


def compared(made: Finetuned, folder: Path) -> Finetuned:
    """Say what training added over the frozen probe, image by image, over all seeds."""
    by_seed = {result.seed: result for result in made.frozen}
    pairs = [
        (
            read_outcomes(by_seed[report.result.seed], folder),
            read_outcomes(report.result, report.predictions_path.parent),
        )
        for report in made.reports
    ]
    difference = compare_outcomes(pairs)
    return replace(made, bought=difference, sentence=bought(difference, made.frozen, made.results))


def bought(difference: Difference, frozen: Sequence[Result], trained: Sequence[Result]) -> str:
    """Say what training added to a frozen probe, in one sentence with its paired interval."""
    before = frozen[0]
    probe = f"a {before.method} probe of {before.features}"
    seeds = f", {len(trained)} seeds" if len(trained) > 1 else ""
    value, low, high = difference.value, difference.low, difference.high
    if "accuracy" in trained[0].metrics:
        much, span = f"{abs(100 * value):.1f} points of accuracy", f"{100 * low:+.1f} to {100 * high:+.1f}"
        levels = _levels("accuracy", trained, frozen)
    else:
        much, span = f"{abs(value):.5f} of mean squared error", f"{-high:+.5f} to {-low:+.5f}"
        levels = _levels("rmse", trained, frozen)
    paired = f"({span}, paired on {difference.n:,} images{seeds}; {levels})"
    if difference.p >= ALPHA:
        return f"Training and {probe} can't be told apart {paired}."
    if value > 0:
        return f"Training bought {much} over {probe} {paired}."
    return f"Training lost {much} against {probe} {paired}."


def _levels(name: str, trained: Sequence[Result], frozen: Sequence[Result]) -> str:
    """Return the mean of a metric over the seeds of both."""
    means = []
    for results in (trained, frozen):
        values = [value for result in results if (value := value_of(result, name)) is not None]
        means.append(f"{sum(values) / len(values):.3f}")
    return f"{title(name)} {means[0]} against {means[1]}"
