"""The probes by name: a new one is a file with a class and its options, and a line here."""

from __future__ import annotations

from probes import centroid, knn, linear, mlp, regression, sgd
from probes.interface import Kind

PROBES: dict[str, Kind] = {
    "linear": Kind(linear.LinearProbe, linear.OPTIONS),
    "linear-sgd": Kind(sgd.SGDProbe, sgd.OPTIONS),
    "mlp": Kind(mlp.MLPProbe, mlp.OPTIONS),
    "knn": Kind(knn.KNNProbe, knn.OPTIONS),
    "nearest-centroid": Kind(centroid.NearestCentroidProbe, centroid.OPTIONS),
    "ridge": Kind(regression.RidgeProbe, regression.RIDGE_OPTIONS, regression=True),
    "sigmoid": Kind(regression.SigmoidProbe, regression.SIGMOID_OPTIONS, regression=True),
}
