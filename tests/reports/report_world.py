"""What the tests of the reports share: colours, a nasty id, and how results get on disk."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embedkit.files.results import Metric, Result, append_result, result_provenance
from embedkit.files.store import FeatureFile
from embedkit.files.tables import ASSIGNMENTS, CLASS_PREDICTIONS, write_table

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
    distance = 0.1 * (np.arange(len(cluster)) % 7)
    write_table(
        runs / name,
        ASSIGNMENTS,
        {"id": file.rows.ids[: len(cluster)], "cluster": cluster, "distance": distance},
    )
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


def unpack(packed):
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=f"<{packed['type']}")


def section(data, name):
    return next(one["data"] for one in data["sections"] if one["name"] == name)


def write_predictions(path: Path, right):
    """Write the predictions of a probe for as many test rows as `right` (n,) bool has."""
    n = len(right)
    columns = {"id": [f"row {i:04d}" for i in range(n)], "split": ["test"] * n, "fold": [1] * n}
    columns |= {"true": ["a"] * n, "predicted": np.where(right, "a", "b"), "probability": [1.0] * n}
    write_table(path, CLASS_PREDICTIONS, columns)
