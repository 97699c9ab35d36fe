"""Written by docs/write_stub.py from the options of every verb; don't edit it by hand."""

from clustering.compare import Comparison
from clustering.naming.report import Named
from clustering.report import ClusterRun
from collections.abc import Iterable
from collections.abc import Mapping
from collections.abc import Sequence
from embedkit.datasets.dataset import Dataset
from embedkit.errors import EmbedkitError as EmbedkitError
from embedkit.errors import UsageError as UsageError
from embedkit.extraction.extract import Extraction
from embedkit.extraction.plan import ExtractionPlan
from embedkit.extraction.vectors.calls import Imported
from embedkit.extraction.verify import Verification
from embedkit.files.results import Result as Result
from embedkit.files.results import read_results as read_results
from embedkit.files.rows import Rows as Rows
from embedkit.files.store import FeatureFile as FeatureFile
from embedkit.files.store import write_features as write_features
from embedkit.scoring.applied import Applied
from embedkit.scoring.quality import QualityReport
from embedkit.workflows.bench import BenchRun
from embedkit.workflows.compare import ComparedFiles
from embedkit.workflows.doctor import Examination
from pathlib import Path
from pretrain.finetune.listing import Recipes
from pretrain.finetune.report import Finetuned
from pretrain.finetune.variants import Variants
from pretrain.run import Pretrained
from probes.labelling.report import Labelled
from probes.leaks.run import LeaksReport
from probes.report import BudgetsReport
from probes.report import ProbeReport
from probes.report import SeedsReport
from probes.symmetries.run import Symmetries
from reports.attention_run import Attention
from reports.cam.run import CamPage
from reports.export.run import Exported
from reports.leaderboard.calls import Located
from reports.leaderboard.table import Leaderboard
from reports.neighbours.found import Found
from reports.report import Report
from reports.votes.run import VotesPage
from typing import Any
from typing import Any, Literal
import os

_Place = str | os.PathLike[str]
__version__: str
__all__ = [
    "EmbedkitError",
    "FeatureFile",
    "Result",
    "Rows",
    "UsageError",
    "attention",
    "bench",
    "cam",
    "cluster",
    "compare",
    "doctor",
    "export",
    "extract",
    "finetune",
    "import_features",
    "label",
    "leaderboard",
    "leaks",
    "load_dataset",
    "name",
    "outliers",
    "predict",
    "pretrain",
    "probe",
    "quality",
    "read_results",
    "recipes",
    "report",
    "similar",
    "symmetries",
    "verify",
    "votes",
    "write_features",
]

def attention(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    backbone: str = "vit_small_patch16_224.dino",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    random_init: int | None = None,
    center_crop: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    n_images: int = 6,
    before: _Place | None = None,
) -> Attention:
    """Draw what the class token of a vision transformer looks at, head by head.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        Where the picture goes; from Python, None writes nothing.

    Raises
    ------
    UsageError
        The backbone has no class token or no attention of timm's kind, or there is nothing to compare.
    EmbedkitError
        Images or weights that can't be read.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    backbone
        timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control (default: vit_small_patch16_224.dino)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    random_init
        random weights, as a control
    center_crop
        keep the central PX source pixels
    image_size
        side of the model input
    resize
        shorter side before the final crop
    crop_mode
        of an oblong image: cut off its ends, squash it, or fit it in and pad
    interpolation
        how it is resized
    mean
        of pixels in [0, 1]
    std
        of pixels in [0, 1]
    n_images
        draw this many images, spread evenly over the dataset (default: 6)
    before
        weights to compare --weights with
    """

def bench(
    dataset: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    backbones: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = (),
    feature_files: _Place | Sequence[_Place] = (),
    views: str | None = None,
    center_crop: int | None = None,
    limit: int | None = None,
    engine: Literal["local", "torchrun", "ray"] | None = None,
    address: str | None = None,
    processes: int | None = None,
    controls: bool = True,
    probes: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = ...,
    clusterings: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = ...,
    preps: str | Sequence[str] = (),
    split: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    reports: bool = True,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    output: _Place = ...,
    dry_run: bool = False,
) -> BenchRun:
    """Extract, cluster, probe and rank; called again, it goes on where it was stopped.

    Parameters
    ----------
    dataset
        What ``embedkit extract`` takes, a table of ``source`` and its options, or a TOML file that says all;
        None with feature files alone.

    Raises
    ------
    UsageError
        Something unknown, or options beside a TOML file.
    EmbedkitError
        A feature file that can't be read. A step that fails stops no other: see `BenchRun.failed`.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    backbones
        timm names, pixels:32, NAME=FILE with a file of weights, ...
    feature_files
        feature files that exist
    views
        1, rot4, d4 or galaxy:N; features are averaged over them
    center_crop
        keep the central PX source pixels
    limit
        take this many images, spread evenly over the dataset (default: all)
    engine
        who computes: this process, several of this machine, or a Ray cluster's
    address
        ray: the cluster's head, or auto for the one that this machine belongs to (default: RAY_ADDRESS, else a cluster on this machine for this one job)
    processes
        torchrun, ray: how many processes (default: one a card; without cards one a core)
    controls
        False: without raw pixels, and without the first backbone with random weights as controls
    probes
        a kind each, with options if any: 'linear --refit'; or none (default: linear knn)
    clusterings
        a method each, with options if any: 'kmeans -k 8'; or none (default: kmeans)
    preps
        try each with every method: default (each method's own), none, view-whiten, ...
    split
        how rows are divided: auto, file, stratified, group, kfold:K, FILE.json; auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified (default: the probe's own)
    seed
        seed of everything that is random (default: 0)
    seeds
        repeat with N seeds, --seed the first of them (default: 1)
    reports
        False: make no map of each feature file
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    output
        folder for all that it makes (default: runs/bench)
    dry_run
        show what would be done, and stop
    """

def cam(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    target: str | None = None,
    per_class: int = 3,
    n_sanity: int = 50,
    predictions: _Place | None = None,
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 32,
    device: str = "auto",
    on_error: Literal["fail", "skip"] = "fail",
    output: _Place = ...,
) -> CamPage:
    """Show what a network trained with labels looks at, and whether to believe it, on one page.

    Parameters
    ----------
    model
        The folder ``model`` that ``embedkit finetune`` left.
    dataset
        Images, with labels for a network of classes: a folder, a .csv, .npy, .npz or .h5 file, a name that
        ``embedkit datasets`` lists, or a `Dataset`.

    Raises
    ------
    UsageError
        No such class or answer; none given of a network of votes; a network that has no layer to look at.
    EmbedkitError
        No grad-cam; a model that is missing or damaged; images without labels that the network knows, or that
        can't be read.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    target
        the class, or the answer of votes, that the maps speak of (default: the predicted class; of votes it must be given)
    per_class
        images of each class shown, of right predictions and of wrong ones (default: 3)
    n_sanity
        images that the maps are examined on (default: 50)
    predictions
        look only at the test images of this table, such as the one that finetune left (default: all images)
    limit
        take this many images, spread evenly over the dataset (default: all)
    seed
        seed of everything that is random (default: 0)
    batch_size
        images, or views of them, at a time (default: 32)
    device
        where it computes (default: auto)
    on_error
        fail at what can't be read, or skip it and mark its row (default: fail)
    output
        the page (default: runs/cam.html)
    """

def cluster(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    k: int | Literal["auto", "auto:fine"] | None = None,
    n_init: int | None = None,
    search: Literal["quick", "thorough"] | None = None,
    spherical: bool | None = None,
    min_cluster_size: int | Literal["auto"] | None = None,
    min_samples: int | None = None,
    target_noise: float | None = None,
    selection: Literal["eom", "leaf"] | None = None,
    epsilon: float | None = None,
    allow_single_cluster: bool | None = None,
    linkage: Literal["ward", "average", "complete", "single"] | None = None,
    covariance: Literal["full", "tied", "diag", "spherical"] | None = None,
    n_components: int | None = None,
    n_neighbors: int | None = None,
    n_heads: int | None = None,
    beta: float | None = None,
    epochs: int | None = None,
    device: str | None = None,
    method: Literal["kmeans", "hdbscan", "agglomerative", "gmm", "umap+kmeans", "umap+hdbscan", "temi", "all"] = "kmeans",
    prep: str | None = None,
    pca: str | None = None,
    seed: int = 0,
    seeds: int = 1,
    stability: bool = False,
    memberships: bool = False,
    explain: bool = False,
    output: _Place | None = ...,
    save_model: _Place | None = None,
    apply: _Place | None = None,
) -> ClusterRun | Comparison:
    """Cluster a feature file and score the clusters.

    Parameters
    ----------
    features
        A feature file of n rows, or its path; or several of the same images, which are prepared each by
        itself and clustered together. Rows without a label are clustered too and left out of the
        scores against labels; rows whose image could not be read are left out of everything.

    Returns
    -------
    ClusterRun or Comparison
        The latter with ``method="all"``.

    Raises
    ------
    UsageError
        Options that don't go together, or a number of clusters that is needed and not given.
    EmbedkitError
        A file that can't be read, or features that can't be clustered; the message says what to do.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    k
        clusters, or auto, or auto:fine for many to name; not for hdbscan (default: the number of classes present)
    n_init
        kmeans, gmm: restarts (default: 10 for kmeans, 3 for gmm)
    search
        kmeans: how long to look for a lower inertia (default: thorough up to 5,000 rows and 100 clusters, quick beyond)
    spherical
        kmeans: cluster by direction (cosine)
    min_cluster_size
        hdbscan: fewest rows of a cluster; auto chooses without labels (default: 1 % of the rows)
    min_samples
        hdbscan: neighbours of a core point; more make more noise (default: the min cluster size)
    target_noise
        hdbscan: choose both of these so that about this share of the rows is noise, as in 0.2
    selection
        hdbscan: eom, the most persistent clusters, or leaf, the finest (default: eom)
    epsilon
        hdbscan: clusters nearer than this distance, in the prepared space, are one (default: 0)
    allow_single_cluster
        hdbscan: all rows may be one cluster
    linkage
        agglomerative: what is merged next (default: ward)
    covariance
        gmm: shape of the components (default: full)
    n_components
        umap: dimensions (default: 5)
    n_neighbors
        umap: neighbours (default: 15)
    n_heads
        temi: heads trained (default: 16)
    beta
        temi: less makes cluster sizes more even (default: 0.6)
    epochs
        temi: passes over the rows (default: 100, few rows more)
    device
        where it computes (default: auto, a GPU if the method can use one)
    method
        which method, or all of them, compared (default: kmeans)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: pca95; l2 with --spherical)
    pca
        short for --prep: PCA to a fraction of the variance, or to a number of components
    seed
        seed of everything that is random (default: 0)
    seeds
        repeat with N seeds, --seed the first of them (default: 1)
    stability
        how often each cluster comes back in bootstrap resamples
    memberships
        how much each row belongs to each cluster, beside the assignments
    explain
        say why the clustering scores as it does
    output
        folder for results.jsonl, assignments and models (default: runs)
    save_model
        where the fitted model is kept, for --apply (default: beside the assignments)
    apply
        fit nothing: put a saved model to use on every row
    """

def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    prep: str | None = None,
    prep_a: str | None = None,
    prep_b: str | None = None,
    split: str = "kfold:5",
    seed: int = 0,
    budget: str = "10",
    draws: int = 5,
    common: bool = False,
    output: _Place = ...,
) -> ComparedFiles:
    """Score two feature files of the same images on the same splits, and test the differences.

    Parameters
    ----------
    a, b
        Feature files with labels, of the same images in whatever order. Several as `b` are of one kind, such
        as trainings of several seeds: their mean is compared, and how they differ widens the intervals.

    Returns
    -------
    ComparedFiles
        Each measure of both with the test of their difference, and the verdict in words.

    Raises
    ------
    UsageError
        No second file, or one of several twice.
    EmbedkitError
        Other images, no labels, features of several kinds for `b`, or a file that can't be read.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: each measure's own)
    prep_a
        prepare A so instead
    prep_b
        prepare B so instead
    split
        how rows are divided: auto, file, stratified, group, kfold:K, FILE.json; auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified (default: kfold:5)
    seed
        seed of everything that is random (default: 0)
    budget
        labels of the measure with few: a number a class, or a percentage (default: 10)
    draws
        random draws of each budget (default: 5)
    common
        take the images that are in both files
    output
        folder for what it computes (default: runs/compare)
    """

def doctor(
) -> Examination:
    """Look at everything that embedkit's results or speed depend on: versions, device, hub, disk.

    Options
    -------
    """

def export(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    prep: str | None = None,
    projection: Literal["umap", "pca", "tsne"] = "umap",
    seed: int = 0,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    umap_metric: Literal["cosine", "euclidean", "correlation", "manhattan"] | None = None,
    max_points: int = 50000,
    thumbnails: bool = True,
    path: _Place | None = None,
    thumbnail_size: int | None = None,
    max_thumbnails: int = 20000,
    vectors: bool = False,
    output: _Place | None = None,
    runs: _Place | None = None,
) -> Exported:
    """Write what a report knows of each image for another program: a table, or a projector's folder.

    Parameters
    ----------
    features
        A feature file, or its path. Of several of the same images a table has the map of each.

    Returns
    -------
    Exported
        It names what was written, and the commands that open it.

    Raises
    ------
    EmbedkitError
        No feature file, no row to show, the same features everywhere, or a damaged results.jsonl.
    UsageError
        An option out of range, a name that says neither table nor folder, a folder that holds other things,
        or no pyarrow.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: the first clustering's for the map, else pca95)
    projection
        how the map is made (default: umap)
    seed
        seed of everything that is random (default: 0)
    n_neighbors
        umap: neighbours (default: 15)
    min_dist
        umap: how tightly points may pack (default: 0.1)
    umap_metric
        what near means (default: cosine; euclidean after a --prep that centres)
    max_points
        points on the map at most (default: 50000)
    thumbnails
        False: don't read the images
    path
        where the images are: of a registered dataset, or now
    thumbnail_size
        side of a picture (default: 96; 64 above 6,000 pictures)
    max_thumbnails
        pictures at most (default: 20000)
    vectors
        of a table: the features themselves, in Parquet as a column of lists
    output
        a .parquet or .csv table, or a folder for TensorBoard's projector (default: RUNS/<name of the feature file>.parquet)
    runs
        folder of results to show (default: runs, if there is one)
    """

def extract(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    backbone: str = "vit_small_patch16_224.dino",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    random_init: int | None = None,
    center_crop: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    storage: Literal["float32", "float16"] = "float32",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
    batch_size: int = 32,
    workers: int | None = None,
    device: str = "auto",
    compile: Literal["auto", "on", "off"] = "auto",
    prepare_with: Literal["auto", "pillow", "torch"] = "auto",
    limit: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    layers: str | None = None,
    pool: Literal["auto", "cls", "patch", "cls+patch", "avg", "model"] = "auto",
    views: str = "1",
    seed: int = 0,
    overwrite: bool = False,
    shard: Sequence[int] | str | None = None,
    engine: Literal["local", "torchrun", "ray"] = "local",
    address: str | None = None,
    processes: int | None = None,
    parts: bool = False,
    dry_run: bool = False,
    plan: bool = False,
) -> Extraction | ExtractionPlan:
    """Compute features of every image and write them to one feature file.

    The same call again finds the finished file and does nothing; after an interruption it goes on from the
    last finished part.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The feature file to make; ``runs/DATASET.h5`` by default, or with `parts` the folder ``runs/DATASET``.

    Returns
    -------
    Extraction or ExtractionPlan
        The latter with ``dry_run=True`` or ``plan=True``.

    Raises
    ------
    UsageError
        Options that exclude each other or name something unknown.
    EmbedkitError
        The output exists with other contents, an unreadable image, or all of them with ``on_error="skip"``,
        weights that can't be had, a full disk.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    backbone
        timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control (default: vit_small_patch16_224.dino)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    random_init
        random weights, as a control
    center_crop
        keep the central PX source pixels
    image_size
        side of the model input
    resize
        shorter side before the final crop
    crop_mode
        of an oblong image: cut off its ends, squash it, or fit it in and pad
    interpolation
        how it is resized
    mean
        of pixels in [0, 1]
    std
        of pixels in [0, 1]
    storage
        number format on disk (default: float32)
    precision
        what it computes in (default: auto)
    batch_size
        images, or views of them, at a time (default: 32)
    workers
        threads that read and decode (default: one a core, at most 16)
    device
        where it computes (default: auto)
    compile
        compile the network first, for a minute or so; auto does on a GPU where it pays (default: auto)
    prepare_with
        pillow, or torch on the device: resizes arrays, draws galaxy views; auto does on a GPU (default: auto)
    limit
        take this many images, spread evenly over the dataset (default: all)
    on_error
        fail at what can't be read, or skip it and mark its row (default: fail)
    layers
        4: the last four blocks; b5-b8 or b3,b11: blocks counted from 0 (default: 4 for cls, else 1)
    pool
        how tokens become one vector (default: auto)
    views
        1, rot4, d4 or galaxy:N; features are averaged over them (default: 1)
    seed
        seed of everything that is random (default: 0)
    overwrite
        replace a file that was made in another way
    shard
        compute the I-th of N shares, counted from 0
    engine
        who computes: this process, several of this machine, or a Ray cluster's (default: local)
    address
        ray: the cluster's head, or auto for the one that this machine belongs to (default: RAY_ADDRESS, else a cluster on this machine for this one job)
    processes
        torchrun, ray: how many processes (default: one a card; without cards one a core)
    parts
        leave a folder of feature files, which is read as one, instead of one file
    dry_run
        show what would be done, and stop
    plan
        try some 200 images, say what all of them will take, and stop
    """

def finetune(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = None,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    backbone: str = "vit_small_patch16_224.dino",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    random_init: int | None = None,
    center_crop: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    recipe: str = "dino-vits16-finetune",
    phase_epochs: int | Sequence[int] | str | None = None,
    batch_plan: str | None = None,
    accumulate: int = 1,
    split: str = "auto",
    fractions: Sequence[float] | None = None,
    seed: int = 0,
    targets: str | Sequence[str] | None = None,
    volunteers: int | None = None,
    noise_scale: bool = False,
    lr_by_noise: int | None = None,
    elastic_batch: int | None = None,
    critical_batch: int | Sequence[int] | str | None = None,
    sky_cell: float | None = None,
    device: str = "auto",
    fsdp: bool = False,
    seeds: int = 1,
    probe: bool = True,
    sweep: str | None = None,
    beside_normal: bool = False,
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

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    backbone
        timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control (default: vit_small_patch16_224.dino)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    random_init
        random weights, as a control
    center_crop
        keep the central PX source pixels
    image_size
        side of the model input
    resize
        shorter side before the final crop
    crop_mode
        of an oblong image: cut off its ends, squash it, or fit it in and pad
    interpolation
        how it is resized
    mean
        of pixels in [0, 1]
    std
        of pixels in [0, 1]
    recipe
        name of a recipe (`embedkit recipes` lists them), or a TOML file (default: dino-vits16-finetune)
    phase_epochs
        epochs of each phase, instead of the recipe's (default: the recipe's)
    batch_plan
        images a batch (64), or sizes with epochs (32x5, 64) (default: the recipe's)
    accumulate
        parts of a batch, to save memory (default: 1)
    split
        how rows are divided: auto, file, stratified, group, kfold:K, FILE.json; auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified (default: auto)
    fractions
        of the rows; with a given test set, the first two divide the rest (default: 0.7 0.15 0.15)
    seed
        seed of everything that is random (default: 0)
    targets
        which of the file's numbers to predict (default: all of them)
    volunteers
        how many people answered about each image (default: as the dataset counts them, else 40)
    noise_scale
        measure the gradient noise scale, each epoch in log.csv
    lr_by_noise
        the recipe's rates are for batches of N; at other sizes they follow the gradient noise scale (default: rates as they are)
    elastic_batch
        batches double up to N images while memory has room, and go in parts where it runs out (default: as planned)
    critical_batch
        measure the critical batch size by short branches at these sizes (default: not measured)
    sky_cell
        batches of images that are close on the sky, from cells of DEG degrees (default: from everywhere)
    device
        where it computes (default: auto)
    fsdp
        torchrun: spread the weights over the processes
    seeds
        repeat with N seeds, --seed the first of them (default: 1)
    probe
        False: leave out the frozen linear probe and the search for copies
    sweep
        train with a key of the recipe at each value, and test the differences: batch_size=16,32,64,128 (default: none)
    beside_normal
        of a curriculum: train on all rows at once too, and say which is faster to the same loss
    """

def import_features(
    vectors: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    key: str | None = None,
    ids: str | None = None,
    labels: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    name: str | None = None,
    dataset: str | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    overwrite: bool = False,
) -> Imported:
    """Make a feature file of vectors that were computed elsewhere.

    Vectors of the same ids and labels are of one dataset, whatever file they come from, so that their results
    stand in one table of the leaderboard.

    Parameters
    ----------
    vectors
        A .npy, .npz, .csv, .tsv, .parquet, .h5 or .h5ad file of n rows and d dimensions, or a feature file
        that is to have other labels.
    output
        The feature file to make; ``runs/NAME.h5`` by default.

    Raises
    ------
    UsageError
        No vectors, several arrays that could be them, or a column that is not there.
    EmbedkitError
        A damaged file, ids that are not unique, NaN, values beyond float32, or an output of another import.

    Options
    -------
    key
        array of vectors (embeddings, obsm/X_pca), or columns of a table (emb_*) (default: found by its shape and name)
    ids
        ids: a column or array of the file, or another file (default: found by name)
    labels
        labels: a column or array of the file, or another file: a .csv with ids, a .txt or .npy in order (default: found by name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    name
        what the vectors are called in tables (default: the file's name)
    dataset
        what the set of rows is called in tables (default: from ids and labels)
    on_error
        fail at what can't be read, or skip it and mark its row (default: fail)
    overwrite
        replace a file that was made in another way
    """

def label(
    features: str | os.PathLike[str] | FeatureFile,
    table: str | os.PathLike[str] | None = None,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    kind: Literal["linear", "linear-sgd", "mlp", "knn", "nearest-centroid", "lda", "label-spreading"] | None = None,
    prep: str | None = None,
    seed: int = 0,
    class_weight: Literal["balanced"] | None = None,
    next: int = 10,
    output: _Place | None = ...,
    save_model: _Place | None = None,
) -> Labelled:
    """Spread a few labels to all images, say what they are worth, and which images to label next.

    A probe is fitted on all labels, its settings chosen by cross-validation among them. What it is worth is
    said by probes that are fitted on four fifths of the labels and asked about the others.

    Parameters
    ----------
    features
        A feature file, or its path.
    table
        A .csv, .tsv or .npz with ids and labels of some of its rows; by default the labels that the file
        has. Without any label, the images to begin with are proposed.

    Returns
    -------
    Labelled
        With ``result``, ``to_pandas()`` and ``next_ids``.

    Raises
    ------
    UsageError
        Two tables of labels, or a model to be saved of fewer than two classes.
    EmbedkitError
        A file that can't be read, or a table of other ids; the message says what to do.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    kind
        which probe (default: label-spreading on 400 to 100,000 images with views if --prep is not given, else linear)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: view-whiten on 400 to 100,000 images with views if --kind is not given, else none)
    seed
        seed of everything that is random (default: 0)
    class_weight
        weigh rows so that every class counts the same (default: every row counts the same)
    next
        propose this many images to label next (default: 10)
    output
        folder for results.jsonl and the table of all images (default: runs)
    save_model
        where the fitted model is kept, for --apply
    """

def leaderboard(
    runs: str | os.PathLike[str] | Iterable[Result | Located] = ...,
    *,
    files: Iterable[FeatureFile] = (),
    task: str | None = None,
    dataset: str | None = None,
    method: str | None = None,
    features: str | None = None,
    budget: str | None = None,
    sort: str | None = None,
    output: _Place | None = None,
    format: Literal["table", "markdown", "csv", "json", "html"] | None = None,
    wide: bool = False,
    html: _Place | None = None,
) -> Leaderboard:
    """Rank results, one table a dataset and task, and say which differences are real.

    Parameters
    ----------
    runs
        A folder of results, or one results.jsonl. Or results themselves, each with the folder that its
        predictions or assignments are in, as `embedkit.files.results.locate_results` reads them; those
        without a folder are looked for in the working folder.
    files
        Feature files that are open already: clusterings take their true classes from these.

    Returns
    -------
    Leaderboard
        It prints as tables, shows itself in a notebook, and ``to_pandas()`` gives its rows.

    Raises
    ------
    UsageError
        A dataset, task, method, feature set, budget or metric that no result has; the message lists those
        that exist.
    EmbedkitError
        No results, or a line that is none.

    Options
    -------
    task
        only this task: cluster, probe, ...
    dataset
        only this dataset
    method
        only this method: linear, knn, kmeans, ...
    features
        only feature sets whose name holds this
    budget
        only this label budget: 5 or 5%, as in embedkit probe; all: no budget
    sort
        rank by this metric, by seconds or by n (default: accuracy; RMSE of targets)
    output
        write it there instead of on the terminal
    format
        how to write it (default: as the ending of -o says, else a table)
    wide
        every column, however wide the terminal is
    html
        also write one sortable page with the intervals drawn
    """

def leaks(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    split: str = "auto",
    seed: int = 0,
    save_split: _Place | None = None,
    pairs: _Place | None = None,
) -> LeaksReport:
    """Look for copies of one image in a feature file, and count those that lie across a split.

    Parameters
    ----------
    features
        A feature file of n rows, or its path. Its images are read where they can be found.

    Raises
    ------
    EmbedkitError
        A file that can't be read, or a split that can't be drawn; the message says what to do.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    split
        how rows are divided: auto, file, stratified, group, kfold:K, FILE.json; auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified (default: auto)
    seed
        seed of everything that is random (default: 0)
    save_split
        keep the split, without training and validation rows that have a copy in a later part, for embedkit probe --split FILE.json
    pairs
        write the pairs, to look at them
    """

def load_dataset(
    source: str | os.PathLike[str] | Dataset,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
) -> Dataset:
    """Open a dataset; images are read later, one at a time.

    Parameters
    ----------
    source
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, or a name in `DATASETS`. A folder
        that bears such a name is meant with ``./name``. A `Dataset` is returned as it is.

    Raises
    ------
    UsageError
        Nothing of that name, or an option that does not apply to it.
    EmbedkitError
        Its files are missing or damaged; the message says which and what to do.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    """

def name(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    clustering: _Place | None = None,
    names: _Place | None = None,
    cut: str | Sequence[str] = (),
    seed: int = 0,
    output: _Place | None = None,
    save_model: _Place | None = None,
) -> Named:
    """Turn names for the groups of a clustering into labels for all images; without, say what to name.

    The rows go to the groups of a saved model, as with ``embedkit cluster --apply``. Several groups may have
    one name; a row of a group without a name has no label. Where the file has labels, named accuracy says how
    many rows would be named right if each group were called after its nine most central images.

    Parameters
    ----------
    features
        A feature file made as the clustered one was, or its path.

    Returns
    -------
    Named
        With ``groups``, ``labels``, ``metrics`` and ``to_pandas()``.

    Raises
    ------
    EmbedkitError
        A file that can't be read, features that were made otherwise, or names of other groups than there are.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    clustering
        the groups: the model that `embedkit cluster` wrote (default: it has to be given)
    names
        a table of the groups with their names, which all images take (default: a table of the groups to fill)
    cut
        cut groups in two: mixed, or their numbers, as in 3,7; with --save-model for the clustering (default: none)
    seed
        seed of everything that is random (default: 0)
    output
        the table of the groups or, with --names, of the labels of all images (default: neither)
    save_model
        where the fitted model is kept, for --apply (default: beside the assignments)
    """

def outliers(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    n: int = 50,
    kth: int = 15,
    prep: str = "none",
    output: _Place | None = None,
    path: _Place | None = None,
    runs: _Place | None = None,
) -> Found:
    """Find the images that are least like any other: far from their k-th nearest, by cosine; exact.

    Parameters
    ----------
    features
        A feature file, or its path.

    Returns
    -------
    Found
        The images, the farthest first, with ``to_pandas()``.

    Raises
    ------
    EmbedkitError
        One row only, or a file that can't be read.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    n
        how many images (default: 50)
    kth
        the neighbour whose distance counts (default: 15)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: none)
    output
        a .csv, or a page of pictures that ends in .html (default: neither)
    path
        where the images are: of a registered dataset, or now
    runs
        folder of results to show (default: runs, if there is one)
    """

def predict(
    model: str | os.PathLike[str],
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] | None = ...,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    batch_size: int = 64,
    device: str = "auto",
    limit: int | None = None,
    on_error: Literal["fail", "skip"] = "fail",
) -> Applied:
    """Predict the class, or the targets, of images with a network that `finetune` trained.

    Parameters
    ----------
    model
        The folder ``model`` that ``embedkit finetune`` left.
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The CSV to write; None writes nothing.

    Returns
    -------
    Applied
        What it says of every image, and scores where the dataset has labels that it knows.

    Raises
    ------
    EmbedkitError
        A model that is missing, damaged or of another head; an image that can't be read.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    batch_size
        images, or views of them, at a time (default: 64)
    device
        where it computes (default: auto)
    limit
        take this many images, spread evenly over the dataset (default: all)
    on_error
        fail at what can't be read, or skip it and mark its row (default: fail)
    """

def pretrain(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str] = ...,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    backbone: str = "vit_small_patch16_224.dino",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    random_init: int | None = None,
    center_crop: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    lora_rank: int = 16,
    lora_alpha: int = 32,
    lora_blocks: int | None = None,
    lora_targets: Literal["qv", "qkv", "all"] = "qv",
    method: Literal["dino-lora", "vicreg-lora", "dino", "vicreg"] = "dino-lora",
    view_preset: Literal["galaxy", "galaxy-strong", "natural"] = "galaxy",
    noise: Literal["gaussian", "sky"] = "gaussian",
    epochs: int | None = None,
    batch_size: int | None = None,
    minutes: float | None = None,
    accumulate: int = 1,
    local_views: int = 2,
    local_size: int = 64,
    lr: float | None = None,
    weight_decay: float = 0.04,
    momentum: float | None = None,
    prototypes: int = 1024,
    centering: Literal["mean", "sinkhorn"] = "mean",
    teacher_temperature: float = 0.07,
    koleo: float = 0.0,
    clip_grad: float = 3.0,
    held_out: int = 256,
    monitor_every: int = 1,
    patience: int | None = None,
    train_norms: bool = False,
    unfreeze_blocks: int | None = None,
    seed: int = 0,
    device: str = "auto",
    fsdp: bool = False,
    merge: bool = False,
    show_views: bool = False,
    seeds: int = 1,
) -> Pretrained:
    """Adapt a backbone to images, or train one on them, without labels.

    The same call again goes on from the last finished epoch.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.
    output
        The folder to make.

    Returns
    -------
    Pretrained
        Where everything is. Under torchrun, all but the first process return the folder alone.

    Raises
    ------
    UsageError
        Options that exclude each other, or that the backbone or the dataset can't do.
    EmbedkitError
        Weights that can't be had, a collapse, or a folder with a run of other options.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    backbone
        timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control (default: vit_small_patch16_224.dino)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    random_init
        random weights, as a control
    center_crop
        keep the central PX source pixels
    image_size
        side of the model input
    resize
        shorter side before the final crop
    crop_mode
        of an oblong image: cut off its ends, squash it, or fit it in and pad
    interpolation
        how it is resized
    mean
        of pixels in [0, 1]
    std
        of pixels in [0, 1]
    lora_rank
        LoRA: rank of the update (default: 16)
    lora_alpha
        LoRA: the update is scaled by this over the rank; at least the rank (default: 32)
    lora_blocks
        LoRA: adapt the last N blocks only (default: all)
    lora_targets
        LoRA: which linear layers of a block (default: qv)
    method
        what trains, and by which objective (default: dino-lora)
    view_preset
        which random views (default: galaxy)
    noise
        of galaxy views (default: gaussian)
    epochs
        passes over the images (default: 10)
    batch_size
        images, or views of them, at a time (default: 64; fits the budget of --minutes)
    minutes
        train for so long: epochs, batch and rate follow from how fast that goes here (default: as --epochs says)
    accumulate
        parts of a batch, to save memory (default: 1)
    local_views
        DINO: small crops (default: 2)
    local_size
        DINO: side of the small crops (default: 64)
    lr
        peak learning rate (default: 1e-3 with LoRA, else 5e-4)
    weight_decay
        of AdamW (default: 0.04)
    momentum
        DINO: of the teacher (default: fits the number of steps)
    prototypes
        DINO: outputs of the head (default: 1024)
    centering
        DINO: how prototypes are kept in use (default: mean)
    teacher_temperature
        DINO: the final one (default: 0.07)
    koleo
        weight of KoLeo (default: 0)
    clip_grad
        largest norm of the gradient (default: 3)
    held_out
        images for the monitors (default: 256)
    monitor_every
        epochs between looks (default: 1)
    patience
        stop after N looks without a better epoch
    train_norms
        normalisations too, beside LoRA or last blocks
    unfreeze_blocks
        train the last N blocks in full (alone, or beside LoRA)
    seed
        seed of everything that is random (default: 0)
    device
        where it computes (default: auto)
    fsdp
        torchrun: spread the weights over the processes
    merge
        low-rank methods: write a plain checkpoint too
    show_views
        write views.png and train nothing
    seeds
        repeat with N seeds, --seed the first of them (default: 1)
    """

def probe(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    c_grid: float | Sequence[float] | None = None,
    learning_rates: float | Sequence[float] | None = None,
    hidden: str | Sequence[str] | None = None,
    weight_decay: float | Sequence[float] | None = None,
    n_neighbors: int | Sequence[int] | None = None,
    temperature: float | None = None,
    metric: Literal["cosine", "euclidean"] | Sequence[Literal["cosine", "euclidean"]] | None = None,
    shrinkage: float | Sequence[float] | None = None,
    clamping: float | Sequence[float] | None = None,
    alphas: float | Sequence[float] | None = None,
    clip: bool | None = None,
    kind: Literal["linear", "linear-sgd", "mlp", "knn", "nearest-centroid", "lda", "label-spreading", "ridge", "sigmoid"] = "linear",
    split: str = "auto",
    prep: str = "none",
    seed: int = 0,
    fractions: Sequence[float] | None = None,
    select: Literal["accuracy", "balanced_accuracy", "log_loss"] | None = None,
    refit: bool = False,
    class_weight: Literal["balanced"] | None = None,
    device: str | None = None,
    targets: str | Sequence[str] | None = None,
    dedupe: Literal["drop", "group"] | None = None,
    seeds: int = 1,
    budget: str | Sequence[str] = (),
    draws: int | None = None,
    leaks: bool = False,
    output: _Place | None = ...,
    save_model: _Place | None = None,
    save_split: _Place | None = None,
    plot: _Place | None = None,
    apply: _Place | None = None,
) -> ProbeReport | SeedsReport | BudgetsReport | Applied:
    """Measure what a probe reads out of a feature file.

    Parameters
    ----------
    features
        A feature file with labels, or with targets for a regression; or its path.

    Returns
    -------
    ProbeReport, SeedsReport, BudgetsReport or Applied
        The second with several ``seeds``, the third with a ``budget``, the last with ``apply``.

    Raises
    ------
    UsageError
        Options that don't go together.
    EmbedkitError
        A file that can't be read or probed; the message says what to do.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    c_grid
        linear, sigmoid: C to choose from (default: linear 13, 1e-5 to 10; sigmoid 11, 1e-5 to 1)
    learning_rates
        linear-sgd: rates to choose from, for a batch of 256 (default: 9, 1e-4 to 1)
    hidden
        mlp: widths of one layer or two to choose from (default: 256 256x256)
    weight_decay
        mlp: decays of AdamW to choose from (default: 0.01 1 3 10 30)
    n_neighbors
        knn, label-spreading: numbers of neighbours to choose from (default: knn 10 20 100 200; label-spreading 10)
    temperature
        knn, label-spreading: of the weights (default: 0.07)
    metric
        nearest-centroid: distances to choose from (default: both)
    shrinkage
        lda: how far the covariance is drawn to a sphere, to choose from (default: 0.1 0.3 0.5 0.7 0.9)
    clamping
        label-spreading: shares of an answer that come from the neighbours, to choose from (default: 0.5 0.9 0.99)
    alphas
        ridge: penalties to choose from (default: 15, 0.1 to 1e6)
    clip
        ridge: cut predictions to [0, 1]
    kind
        which probe (default: linear)
    split
        how rows are divided: auto, file, stratified, group, kfold:K, FILE.json; auto takes the file's own, else kfold:5 below 300 labels, else by group, else stratified (default: auto)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: none)
    seed
        seed of everything that is random (default: 0)
    fractions
        of the rows; with a given test set, the first two divide the rest (default: 0.7 0.15 0.15)
    select
        what validation rows choose settings by (default: accuracy; RMSE of targets)
    refit
        after the choice, fit on training and validation rows together
    class_weight
        weigh rows so that every class counts the same (default: every row counts the same)
    device
        where it computes (default: cpu; auto takes a GPU if there is one)
    targets
        which of the file's numbers to predict (default: all of them)
    dedupe
        drop: leave copies of later parts out of training and validation; group: move copies to where the first is; with the score before and after
    seeds
        repeat with N seeds, --seed the first of them (default: 1)
    budget
        few labels: numbers of training images a class and percentages of them, as in 1,5,10,1%,100%; settings are chosen by cross-validation among them
    draws
        random draws of each budget (default: 5)
    leaks
        before any score, say which test images are trained on as well
    output
        folder for results.jsonl and predictions; with --apply, or a FILE.csv for these (default: runs)
    save_model
        where the fitted model is kept, for --apply
    save_split
        keep the split, for --split FILE.json
    plot
        draw the reliability curve or, with --budget, the learning curve
    apply
        fit nothing: put a saved model to use on every row
    """

def quality(
    files: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    n_rows: int = 5000,
    seed: int = 0,
    umap: bool = False,
    runs: _Place | None = None,
    output: _Place | None = ...,
) -> QualityReport:
    """Judge feature files by criteria that need no labels.

    Parameters
    ----------
    files
        Feature files, or their paths; or one.

    Raises
    ------
    EmbedkitError
        A file that can't be read or judged; the message says what to do.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    n_rows
        rows to look at, at most, drawn by --seed (default: 5000)
    seed
        seed of everything that is random (default: 0)
    umap
        the silhouette of ten clusters in a UMAP too: the slowest by far
    runs
        compare with the probe results of the same files there
    output
        folder for results.jsonl (default: runs)
    """

def recipes(
    name: str | Path | None = None,
) -> Recipes:
    """List the recipes of training with labels, or read one of them.

    Parameters
    ----------
    name
        A recipe, or a TOML file of one's own, which is read and checked. By default all that come with
        embedkit.

    Raises
    ------
    UsageError
        No such recipe, or a file with something in it that is none of a recipe's.

    Options
    -------
    """

def report(
    features: str | os.PathLike[str] | FeatureFile | Sequence[str | os.PathLike[str] | FeatureFile],
    *,
    results: Sequence[tuple[Path, Result]] | None = None,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    prep: str | None = None,
    projection: Literal["umap", "pca", "tsne"] = "umap",
    seed: int = 0,
    n_neighbors: int = 15,
    min_dist: float = 0.1,
    umap_metric: Literal["cosine", "euclidean", "correlation", "manhattan"] | None = None,
    max_points: int = 50000,
    thumbnails: bool = True,
    path: _Place | None = None,
    thumbnail_size: int | None = None,
    max_thumbnails: int = 20000,
    color: str | None = None,
    transform: _Place | None = None,
    transform_path: _Place | None = None,
    output: _Place | None = None,
    runs: _Place | None = None,
    open: bool = False,
    figure: _Place | None = None,
    figure_size: str = "170x120mm",
    figure_dpi: int = 300,
    figure_names: bool = True,
    figure_thumbnails: float | None = None,
) -> Report:
    """Write an interactive map of a feature file as one HTML file that needs no network.

    Parameters
    ----------
    features
        A feature file, or its path. Of several of the same images the first map stands beside those of the
        others.
    results
        Those already read, with the folder that each stands in, instead of those below ``runs``.

    Returns
    -------
    Report
        It names the file, and shows a link to it in a notebook.

    Raises
    ------
    EmbedkitError
        No feature file, no row to show, no image that is in all files, the same features
        everywhere, or a damaged results.jsonl.
    UsageError
        An option out of range, or a column that isn't there.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: the first clustering's for the map, else pca95)
    projection
        how the map is made (default: umap)
    seed
        seed of everything that is random (default: 0)
    n_neighbors
        umap: neighbours (default: 15)
    min_dist
        umap: how tightly points may pack (default: 0.1)
    umap_metric
        what near means (default: cosine; euclidean after a --prep that centres)
    max_points
        points on the map at most (default: 50000)
    thumbnails
        False: don't read the images
    path
        where the images are: of a registered dataset, or now
    thumbnail_size
        side of a picture (default: 96; 64 above 6,000 pictures)
    max_thumbnails
        pictures at most (default: 20000)
    color
        column to colour by at first: label, cluster, split, ... (default: label, else the first clustering)
    transform
        another feature file, whose images are placed on the map, which stays as it is
    transform_path
        where the images of --transform are now, as --path says it of the others (default: where they were)
    output
        the HTML file (default: RUNS/<name of the feature file>.html)
    runs
        folder of results to show (default: runs, if there is one)
    open
        open it in the browser
    figure
        also draw the map for a paper, as .pdf, .svg or .png (default: no figure)
    figure_size
        its width and height, in mm, cm or in (default: 170x120mm)
    figure_dpi
        its pixels an inch (default: 300)
    figure_names
        False: no names on the figure's map
    figure_thumbnails
        side of pictures on the figure's map, in mm (default: no pictures)
    """

def similar(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    rows: str | Sequence[str] = (),
    only_class: str | Sequence[str] = (),
    exclude_class: str | Sequence[str] = (),
    min_per_class: int | None = None,
    labels: _Place | None = None,
    id: str | None = None,
    image: _Place | None = None,
    n: int = 15,
    prep: str = "none",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    output: _Place | None = None,
    path: _Place | None = None,
) -> Found:
    """Find the images that are most like one, by the cosine similarity of their features; exact.

    Parameters
    ----------
    features
        A feature file, or its path.

    Returns
    -------
    Found
        The images, the most similar first, with ``to_pandas()``.

    Raises
    ------
    UsageError
        Neither an id nor an image.
    EmbedkitError
        No such row, or an image or a file that can't be read.

    Options
    -------
    rows
        only these rows: split=test, group=NAME, or a FILE.txt with an id a line (default: all)
    only_class
        only rows of these classes (default: all)
    exclude_class
        no rows of these classes (default: none)
    min_per_class
        leave out classes with fewer rows than that (default: none)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    id
        the row that is asked about
    image
        a new image, put through the file's own backbone
    n
        how many images (default: 15)
    prep
        prepare the features first: auto, none, or l2, pca95, view-whiten, clip50, ..., joined with + (default: none)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    output
        a .csv, or a page of pictures that ends in .html (default: neither)
    path
        where the images are: of a registered dataset, or now
    """

def symmetries(
    dataset: str | os.PathLike[str] | Dataset,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    backbone: str = "vit_small_patch16_224.dino",
    weights: _Place | None = None,
    adapter: _Place | None = None,
    random_init: int | None = None,
    center_crop: int | None = None,
    image_size: int | None = None,
    resize: int | None = None,
    crop_mode: Literal["center", "squash", "border"] | None = None,
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    limit: int = 400,
    layers: str | None = None,
    pool: Literal["auto", "cls", "patch", "cls+patch", "avg", "model"] = "auto",
    seed: int = 0,
    workers: int | None = None,
    device: str = "auto",
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto",
) -> Symmetries:
    """Ask images which transformations they mind, without labels.

    Half of the images are transformed, and a linear probe is to tell them from the others, in folds by
    image. What it can't tell is no property of the images; what it can is something that they have.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.

    Raises
    ------
    UsageError
        A backbone that sees fewer than 32 pixels a side.
    EmbedkitError
        Fewer than 40 images that can be read, or none that shows anything; weights that can't be had.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    backbone
        timm name, embedkit-galaxy, hf-hub:owner/name, local-dir:FOLDER, or pixels:32 as a control (default: vit_small_patch16_224.dino)
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    random_init
        random weights, as a control
    center_crop
        keep the central PX source pixels
    image_size
        side of the model input
    resize
        shorter side before the final crop
    crop_mode
        of an oblong image: cut off its ends, squash it, or fit it in and pad
    interpolation
        how it is resized
    mean
        of pixels in [0, 1]
    std
        of pixels in [0, 1]
    limit
        take this many images, spread evenly over the dataset (default: 400)
    layers
        4: the last four blocks; b5-b8 or b3,b11: blocks counted from 0 (default: 4 for cls, else 1)
    pool
        how tokens become one vector (default: auto)
    seed
        seed of everything that is random (default: 0)
    workers
        threads that read and decode (default: one a core, at most 16)
    device
        where it computes (default: auto)
    precision
        what it computes in (default: auto)
    """

def verify(
    features: str | os.PathLike[str] | FeatureFile,
    *,
    n_rows: int = 8,
    path: _Place | None = None,
    weights: _Place | None = None,
    adapter: _Place | None = None,
) -> Verification:
    """Check every invariant of the schema, then extract some rows again and compare.

    Parameters
    ----------
    features
        A feature file, or its path.

    Raises
    ------
    FeatureFileError
        Not a feature file at all.
    EmbedkitError
        The dataset or the weights are there, but are not those that the file was made from.

    Options
    -------
    n_rows
        rows to look at, spread evenly; 0 checks the file alone (default: 8)
    path
        where the images are: of a registered dataset, or now
    weights
        checkpoint file, instead of the published or recorded one
    adapter
        folder with a PEFT adapter, instead of the recorded one
    """

def votes(
    dataset: str | os.PathLike[str] | Dataset,
    *,
    path: _Place | None = None,
    root: _Place | None = None,
    file_column: str | None = None,
    label_column: str | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    id_column: str | None = None,
    target_columns: str | Sequence[str] | None = None,
    images_key: str | None = None,
    labels_key: str | None = None,
    labels: _Place | None = None,
    subset: Literal["training", "test", "volunteers-5", "volunteers-1-and-2", "predicted"] | None = None,
    threshold: float | None = None,
    vote_fractions: Literal["weighted", "plain", "debiased"] | None = None,
    follow_links: bool | None = None,
    channels: int | Sequence[int] | str | None = None,
    white: float | None = None,
    hdu: str | None = None,
    stretch: Literal["asinh", "linear", "log", "sqrt"] | None = None,
    percentiles: Sequence[float] | None = None,
    n: int | None = None,
    size: int | None = None,
    dataset_seed: int | None = None,
    votes: bool | None = None,
    seed: int = 0,
    validation: float = 0.2,
    volunteers: int | None = None,
    reduction: float = 30,
    predictions: str | Sequence[str] = (),
    log: str | Sequence[str] = (),
    merger_of: _Place | None = None,
    merger_share: float = 0.4,
    output: _Place = ...,
    kaggle: _Place | None = None,
) -> VotesPage:
    """Study shares of votes, and models that predict them, on one page that needs no network.

    Parameters
    ----------
    dataset
        A folder, a .csv, .npy, .npz or .h5 file, .tar or .parquet shards, a name that ``embedkit datasets``
        lists, or a `Dataset`.

    Raises
    ------
    EmbedkitError
        No targets, votes that contradict their tree, or predictions of other images or targets.
    UsageError
        What was asked for can't be had of these targets.

    Options
    -------
    path
        where the images are: of a registered dataset, or now
    root
        CSV: folder that file names are relative to (default: the CSV's own)
    file_column
        CSV: column of file names (default: file)
    label_column
        CSV, Parquet: column of labels (default: label)
    split_column
        CSV, Parquet: column of train, validation, test (default: split)
    group_column
        CSV, Parquet: column of groups that no split divides (default: group)
    id_column
        CSV, Parquet: column of ids (default: the file names, or a usual name)
    target_columns
        CSV, Parquet: columns of numbers to predict
    images_key
        npz, h5: array of images; tar: ending of the image; Parquet: its column (default: images)
    labels_key
        npz, h5: array of labels; tar: ending of the label, such as cls (default: labels)
    labels
        labels by id from a table (.csv, .tsv, .npz), in place of those that are there (default: its own)
    subset
        galaxy-zoo-2: which images; galaxy-zoo-decals: whose votes (default: training, or volunteers-5)
    threshold
        galaxy-zoo-2, -2-hart16, -decals: keep images with at least this share of votes, as classes
    vote_fractions
        galaxy-zoo-2-hart16: which of the table's fractions are the targets (default: weighted)
    follow_links
        folder: follow links to folders, and out of it; each folder is read once
    channels
        arrays, TIFF, cubes: which channels are used, counted from 0, such as 0,1,2
    white
        value that is drawn white, such as 4095
    hdu
        FITS: number or name of the part (default: the first image)
    stretch
        FITS: from values to grey (default: asinh)
    percentiles
        FITS: percentages drawn black and white (default: 0.5 99.5)
    n
        simulated: number of images (default: 1000)
    size
        simulated: pixels a side (default: 128)
    dataset_seed
        simulated: seed of the drawing (default: 0)
    votes
        simulated: shares of votes as targets, by 40 simulated volunteers a galaxy
    seed
        seed of everything that is random (default: 0)
    validation
        share of the rows on the validation side (default: 0.2)
    volunteers
        how many people answered about each image (default: as the dataset counts them, else 40)
    reduction
        images with so many times fewer pixels, beside the original (default: 30)
    predictions
        tables of predicted targets, as probe --kind ridge writes; each is a model (default: none)
    log
        tables of losses: epoch, images, loss, validation_loss (default: none)
    merger_of
        targets predicted for images without votes, by the first model: their merger fraction (default: none)
    merger_share
        a galaxy is counted as a merger from this share of votes on (default: 0.4)
    output
        the page (default: runs/votes.html)
    kaggle
        write predictions as the Kaggle challenge takes them: of --merger-of, else of the one model (default: none)
    """
