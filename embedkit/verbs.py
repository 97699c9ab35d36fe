"""Every verb, once: its command, its Python function and its options, all named as strings.

Nothing is imported until a verb is used, so that neither ``embedkit --help`` nor ``import embedkit`` waits
for torch. `embedkit.cli` makes subcommands of the table, ``import embedkit`` makes functions of it.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from embedkit.errors import EmbedkitError

# Top-level packages beside this one. Their names are common words, so another's may stand in their place.
ROOMS = ("pretrain", "clustering", "probes", "reports")


class Verb(NamedTuple):
    """One verb.

    Parameters
    ----------
    summary
        The line in ``embedkit --help``.
    command
        ``package.module:function``. The function adds its options to the parser that it is given and returns
        the handler that runs the parsed command.
    function
        What the handler calls, in the same words; empty where there is only the command.
    options
        The dataclasses whose fields are the function's keywords; see `embedkit.options.keywords`.
    places
        Of what the command has as an option and the function as ``output``, by position.
    python
        The function's name, where the verb is a keyword of Python.
    """

    summary: str
    command: str
    function: str = ""
    options: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    python: str = ""


# Of a verb that takes images through a backbone.
IMAGES = (
    "embedkit.datasets.options:DatasetOptions",
    "embedkit.backbones.options:BackboneSpec",
    "embedkit.images.options:Overrides",
)

VERBS = {
    "datasets": Verb("list the datasets that are known by name", "embedkit.datasets.command:configure"),
    "extract": Verb(
        "turn images into a feature file",
        "embedkit.extraction.command:configure",
        "embedkit.extraction.calls:extract",
        (*IMAGES, "embedkit.extraction.options:ExtractCall"),
        ("embedkit.extraction.options:ExtractPlaces",),
    ),
    "import": Verb(
        "turn vectors that you have already into a feature file",
        "embedkit.extraction.vectors.command:configure",
        "embedkit.extraction.vectors.calls:import_features",
        ("embedkit.extraction.vectors.options:ImportOptions",),
        ("embedkit.extraction.vectors.options:ImportPlaces",),
        python="import_features",
    ),
    "verify": Verb(
        "check a feature file against its schema and its images",
        "embedkit.extraction.verify_command:configure",
        "embedkit.extraction.verify:verify",
        ("embedkit.extraction.verify_options:VerifyOptions",),
    ),
    "cluster": Verb(
        "find structure in a feature file without labels",
        "clustering.command:configure",
        "clustering.calls:cluster",
        ("clustering.options:ClusterOptions", "clustering.options:ClusterPlaces"),
    ),
    "name": Verb(
        "turn names for groups into labels for all images",
        "clustering.naming.command:configure",
        "clustering.naming.run:name",
        ("clustering.naming.options:NameOptions", "clustering.naming.options:NamePlaces"),
    ),
    "probe": Verb(
        "measure what labels can read out of a feature file",
        "probes.command:configure",
        "probes.calls:probe",
        (
            "probes.options:ProbeOptions",
            "probes.options:ProbeProtocol",
            "probes.options:ProbePlaces",
        ),
    ),
    "label": Verb(
        "spread a few labels to all images, and say which to label next",
        "probes.labelling.command:configure",
        "probes.labelling.run:label",
        ("probes.labelling.options:LabelOptions", "probes.labelling.options:LabelPlaces"),
    ),
    "leaks": Verb(
        "find copies of one image across a split",
        "probes.leaks.command:configure",
        "probes.leaks.run:leaks",
        ("probes.leaks.options:LeaksOptions", "probes.leaks.options:LeaksPlaces"),
    ),
    "quality": Verb(
        "judge feature files without labels",
        "embedkit.scoring.quality_command:configure",
        "embedkit.scoring.quality:quality",
        (
            "embedkit.scoring.quality_options:QualityOptions",
            "embedkit.scoring.quality_options:QualityPlaces",
        ),
    ),
    "symmetries": Verb(
        "ask images which transformations they mind, without labels",
        "probes.symmetries.command:configure",
        "probes.symmetries.run:symmetries",
        (*IMAGES, "probes.symmetries.options:SymmetriesOptions"),
    ),
    "pretrain": Verb(
        "adapt or train a backbone without labels",
        "pretrain.command:configure",
        "pretrain.run:pretrain",
        (*IMAGES, "pretrain.options:PretrainCall"),
        ("pretrain.options:PretrainPlaces",),
    ),
    "recipes": Verb(
        "list the recipes of training with labels, or print one",
        "pretrain.finetune.recipes_command:configure",
        "pretrain.finetune.listing:recipes",
    ),
    "finetune": Verb(
        "train a network on labels or votes by a recipe",
        "pretrain.finetune.command:configure",
        "pretrain.finetune.calls:finetune",
        (*IMAGES, "pretrain.finetune.options:FinetuneCall"),
        ("pretrain.finetune.options:FinetunePlaces",),
    ),
    "predict": Verb(
        "put a network that was trained with labels to use",
        "embedkit.workflows.predict_command:configure",
        "embedkit.workflows.predict:predict",
        ("embedkit.datasets.options:DatasetOptions", "embedkit.workflows.predict_options:PredictOptions"),
        ("embedkit.workflows.predict_options:PredictPlaces",),
    ),
    "report": Verb(
        "make an interactive map of a feature file",
        "reports.report_command:configure",
        "reports.report:report",
        (
            "reports.report_options:ReportOptions",
            "reports.report_options:ReportPlaces",
            "reports.figure_options:FigureOptions",
        ),
    ),
    "export": Verb(
        "write a map and what is known of its images for other programs",
        "reports.export.command:configure",
        "reports.export.run:export",
        (
            "reports.report_options:MapOptions",
            "reports.export.options:ExportOptions",
            "reports.export.options:ExportPlaces",
        ),
    ),
    "similar": Verb(
        "find the images that are most like one",
        "reports.neighbours.command:configure_similar",
        "reports.neighbours.run:similar",
        ("reports.neighbours.options:SimilarOptions", "reports.neighbours.options:SimilarPlaces"),
    ),
    "outliers": Verb(
        "find the images that are least like any other",
        "reports.neighbours.command:configure_outliers",
        "reports.neighbours.run:outliers",
        ("reports.neighbours.options:OutliersOptions", "reports.neighbours.options:OutliersPlaces"),
    ),
    "attention": Verb(
        "draw where a vision transformer looks",
        "reports.attention_command:configure",
        "reports.attention_run:attention",
        (*IMAGES, "reports.attention_options:AttentionOptions"),
        ("reports.attention_options:AttentionPlaces",),
    ),
    "votes": Verb(
        "study shares of votes, and models that predict them",
        "reports.votes.command:configure",
        "reports.votes.run:votes",
        (
            "embedkit.datasets.options:DatasetOptions",
            "reports.votes.options:VotesOptions",
            "reports.votes.options:VotesPlaces",
        ),
    ),
    "cam": Verb(
        "show what a network trained with labels looks at, and whether to believe it",
        "reports.cam.command:configure",
        "reports.cam.run:cam",
        (
            "embedkit.datasets.options:DatasetOptions",
            "reports.cam.options:CamOptions",
            "reports.cam.options:CamPlaces",
        ),
    ),
    "leaderboard": Verb(
        "rank the results of a folder",
        "reports.leaderboard.command:configure",
        "reports.leaderboard.calls:leaderboard",
        ("reports.leaderboard.options:LeaderboardOptions", "reports.leaderboard.options:LeaderboardPlaces"),
    ),
    "compare": Verb(
        "say which of two feature files is better, and at what",
        "embedkit.workflows.compare_command:configure",
        "embedkit.workflows.compare:compare",
        (
            "embedkit.workflows.compare_options:CompareOptions",
            "embedkit.workflows.compare_options:ComparePlaces",
        ),
    ),
    "bench": Verb(
        "extract, cluster, probe and rank in one resumable run",
        "embedkit.workflows.bench_command:configure",
        "embedkit.workflows.bench:bench",
        (
            "embedkit.workflows.bench_options:BenchOptions",
            "embedkit.datasets.options:DatasetOptions",
            "embedkit.workflows.bench_options:BenchPlaces",
        ),
    ),
    "demo": Verb("run the whole of it on 600 real galaxies", "embedkit.workflows.demo:configure"),
    "doctor": Verb(
        "show versions, device and what is missing",
        "embedkit.workflows.doctor:configure",
        "embedkit.workflows.doctor:doctor",
    ),
}


# What `import embedkit` calls each verb that has a function.
FUNCTIONS = {verb.python or name: name for name, verb in VERBS.items() if verb.function}


def target(name: str) -> Any:
    """Import what ``package.module:name`` names.

    Raises
    ------
    EmbedkitError
        Another package stands in the place of ours; the message names its file.
    """
    module, _, attribute = name.partition(":")
    room = module.partition(".")[0]
    for one in (room,) if room in ROOMS else ROOMS if module.startswith("embedkit.workflows") else ():
        _check_room(one)
    return getattr(importlib.import_module(module), attribute)


def _check_room(room: str) -> None:
    """Refuse a user's own ``clustering.py``, or a folder ``reports``, that Python finds before ours."""
    ours = Path(__file__).resolve().parents[1] / room
    found = importlib.util.find_spec(room)
    if found is None:
        raise EmbedkitError(f"{ours}: embedkit's own package {room!r} is missing. Install embedkit again.")
    places = [found.origin] if found.origin else list(found.submodule_search_locations or ())
    theirs = Path(places[0]).resolve() if places else ours
    if ours not in (theirs, theirs.parent):
        raise EmbedkitError(
            f"{theirs}: stands in the way of embedkit's own package {room!r}, since Python finds it first. "
            "Rename it, or start from another folder."
        )


def function(name: str) -> Callable[..., Any]:
    """Return a verb, by its name in Python, as a function of keywords.

    Raises
    ------
    EmbedkitError
        As `target`.
    """
    from embedkit.options import keywords

    verb = VERBS[FUNCTIONS[name]]
    return keywords(target(verb.function), *(target(one) for one in verb.options))
