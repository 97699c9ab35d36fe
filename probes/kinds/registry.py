"""The probes by name: a new one is a file with a class and its options, and a line here."""

from __future__ import annotations

from probes.kinds import centroid, knn, linear, mlp, regression, sgd
from probes.kinds.interface import Kind

PROBES: dict[str, Kind] = {
    "linear": Kind(linear.LinearProbe, linear.OPTIONS, unchosen={"c_grid": 0.01}),
    "linear-sgd": Kind(sgd.SGDProbe, sgd.OPTIONS, unchosen={"learning_rates": 0.01}),
    "mlp": Kind(mlp.MLPProbe, mlp.OPTIONS, unchosen={"hidden": "256", "weight_decay": 1.0}),
    "knn": Kind(knn.KNNProbe, knn.OPTIONS, unchosen={"k": 1}),
    "nearest-centroid": Kind(centroid.NearestCentroidProbe, centroid.OPTIONS, unchosen={"metric": "cosine"}),
    "ridge": Kind(
        regression.RidgeProbe, regression.RIDGE_OPTIONS, regression=True, unchosen={"alphas": 1000.0}
    ),
    "sigmoid": Kind(
        regression.SigmoidProbe, regression.SIGMOID_OPTIONS, regression=True, unchosen={"c_grid": 0.001}
    ),
}
