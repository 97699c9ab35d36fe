"""What the tests of the reports share: colours, a nasty id, and how results get on disk."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

from embedkit.files.results import Metric, Result, append_result, result_provenance
from embedkit.files.store import FeatureFile

COLOURS = {"red": (220, 40, 30), "green": (30, 190, 60), "blue": (40, 70, 220)}
# An id that would run as a script, load a picture or end the page if it were ever taken for markup.
NASTY = (
    "x</script><script>window.pwned=1</script><img src=http://example.invalid/a.png onerror=window.pwned=1>"
)


@dataclass(frozen=True)
class World:
    images: Path
    features: Path
    runs: Path
    n: int
    k: int


def write_clustering(runs: Path, file: FeatureFile, name: str, cluster, outcomes=None, **params):
    with (runs / name).open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "cluster", "distance"])
        for i, number in enumerate(cluster):
            writer.writerow([file.rows.ids[i], number, 0.1 * (i % 7)])
    result = Result(
        task="cluster",
        dataset=file.dataset_name,
        features=file.features_name,
        method="kmeans",
        params=params,
        outcomes=outcomes or {},
        split="none",
        seed=0,
        metrics={"accuracy": Metric(0.9, 0.85, 0.95), "nmi": Metric(0.8), "null_accuracy": Metric(0.37)},
        n=file.n,
        seconds=1.0,
        backend="test",
        provenance={**result_provenance(file), "assignments": name},
    )
    append_result(runs / "results.jsonl", result)
    return result


def page_data(path):
    """Return the JSON that a report embeds."""
    text = Path(path).read_text(encoding="utf-8")
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def write_predictions(path: Path, right):
    """Write the predictions of a probe for as many test rows as `right` (n,) bool has."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "split", "true", "predicted"])
        for i, is_right in enumerate(right):
            writer.writerow([f"row {i:04d}", "test", "a", "a" if is_right else "b"])
