"""Which backbone suits my images? Features, probes and clusters of each, and one table of what is real.

    python examples/compare_backbones.py DATASET BACKBONE [BACKBONE ...] [-o FOLDER]

Without arguments it compares the small backbone that comes with embedkit with raw pixels, on simulated
galaxies: a minute on two cores, and no network. `embedkit bench` does the same, and resumes.
"""

import argparse
from pathlib import Path

import embedkit


def compare(dataset: str, backbones: list[str], folder: Path) -> None:
    """Write features, results and a page below `folder`, and print the tables."""
    results = folder / "results"
    for backbone in backbones:
        features = folder / f"{backbone.replace('/', '_').replace(':', '-')}.h5"
        # Four views of each image: what differs between them is what `view-whiten` takes out.
        embedkit.extract(dataset, features, backbone=backbone, views="rot4")
        # One split for all: the leaderboard tests differences on the very same images.
        embedkit.probe(features, kind="linear", split="kfold:5", output=results)
        embedkit.probe(features, kind="knn", split="kfold:5", prep="view-whiten", output=results)
        embedkit.cluster(features, prep="view-whiten", output=results)
    print(embedkit.leaderboard(results, html=folder / "leaderboard.html"))


def main(argv: list[str] | None = None) -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare backbones on a labelled dataset.")
    parser.add_argument("dataset", nargs="?", default="simulated", help="as for embedkit extract")
    parser.add_argument("backbones", nargs="*", default=["embedkit-galaxy", "pixels:16"])
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/compare-backbones"))
    args = parser.parse_args(argv)
    compare(args.dataset, args.backbones, args.output)


if __name__ == "__main__":
    main()
