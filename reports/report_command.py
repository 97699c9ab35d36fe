"""`embedkit report`: its options, and what it says."""

from __future__ import annotations

import argparse
import webbrowser
from collections.abc import Callable
from dataclasses import asdict

from embedkit.console import note, print_json
from reports.report import ReportOptions, report


def configure(parser: argparse.ArgumentParser) -> Callable[[argparse.Namespace], int | None]:
    """Add the options of ``embedkit report``."""
    default = ReportOptions()
    parser.add_argument("features", metavar="FEATURES", help="a feature file that `embedkit extract` wrote")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="the HTML file (default: RUNS/<features>.html)"
    )
    parser.add_argument(
        "--runs", metavar="DIR", help="folder of results to show (default: runs, if there is one)"
    )
    parser.add_argument(
        "--color", metavar="COLUMN", help="column to colour by at first: label, cluster, split, ..."
    )
    parser.add_argument(
        "--prep",
        default=default.prep,
        metavar="STEPS",
        help="prepare the features of the map first: none, l2, pca95, view-whiten, ..., joined with +",
    )
    parser.add_argument("--seed", type=int, default=default.seed, help="seed of the map")
    parser.add_argument(
        "--neighbors",
        type=int,
        default=default.n_neighbors,
        metavar="N",
        help="UMAP: size of a neighbourhood",
    )
    parser.add_argument(
        "--min-dist", type=float, default=default.min_dist, help="UMAP: how tightly points may pack"
    )
    parser.add_argument(
        "--metric", default=default.metric, help="cosine, euclidean, correlation or manhattan"
    )
    parser.add_argument(
        "--limit", type=int, default=default.limit, metavar="N", help="points on the map at most"
    )
    parser.add_argument("--images", metavar="DATASET", help="where the images are now, if they have moved")
    parser.add_argument("--no-thumbnails", action="store_true", help="don't read the images")
    parser.add_argument(
        "--thumbnail-size",
        type=int,
        default=default.thumbnail_size,
        metavar="PIXELS",
        help="side of a picture",
    )
    parser.add_argument(
        "--max-thumbnails", type=int, default=default.max_thumbnails, metavar="N", help="pictures at most"
    )
    parser.add_argument("--open", action="store_true", help="open it in the browser")
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    return _run


def _run(args: argparse.Namespace) -> None:
    options = ReportOptions(
        color=args.color,
        seed=args.seed,
        n_neighbors=args.neighbors,
        min_dist=args.min_dist,
        metric=args.metric,
        limit=args.limit,
        thumbnails=not args.no_thumbnails,
        images=args.images,
        thumbnail_size=args.thumbnail_size,
        max_thumbnails=args.max_thumbnails,
        prep=args.prep,
    )
    written = report(args.features, output=args.output, runs=args.runs, options=options)
    if args.json:
        print_json(asdict(written))
    else:
        print(written.path)
        note(
            f"{written.n_points:,} images, {written.n_thumbnails:,} pictures, {written.n_results} results, "
            f"{written.n_bytes / 1e6:.1f} MB."
        )
    if args.open:
        webbrowser.open(written.path.resolve().as_uri())
