"""What two feature files are compared by, and what a result that is there already is called beside that."""

from __future__ import annotations

from embedkit.files.results import Result
from embedkit.workflows.compare_options import CompareOptions, few_labels

_KMEANS = "k-means"


def measures(options: CompareOptions) -> dict[str, list[str]]:
    """Return the words of the verbs that files are compared by; the last with few labels of each class."""
    few = ["--budget", options.budget, "--draws", str(options.draws)]
    return {
        "20-NN": ["probe", "--kind", "knn", "--n-neighbors", "20"],
        "linear": ["probe", "--kind", "linear"],
        _KMEANS: ["cluster", "--method", "kmeans"],
        options.few: ["probe", "--kind", "linear", *few],
    }


def measure_of(result: Result) -> str:
    """Name a result as `measures` names its like: ``20-NN``, ``10-labels-a-class``, else by its method."""
    k = result.params.get("k")
    method = f"{k}-NN" if result.method == "knn" and isinstance(k, int) else result.method
    method = _KMEANS if method == "kmeans" else method
    budget = result.params.get("budget")
    if not isinstance(budget, str):
        return method
    few = few_labels(budget.removesuffix(" per class").replace(" ", ""))
    return few if method == "linear" else f"{method} {few}"
