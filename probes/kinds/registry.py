"""The probes by name: a new one is a file with a class, and a line here.

What it can be asked for are the fields of `probes.kinds.settings.Settings` that its class takes.
"""

from __future__ import annotations

from probes.kinds import centroid, discriminant, knn, linear, mlp, regression, sgd, spreading
from probes.kinds.interface import Kind

PROBES: dict[str, Kind] = {
    "linear": Kind(linear.LinearProbe, unchosen={"c_grid": 0.01}),
    "linear-sgd": Kind(sgd.SGDProbe, unchosen={"learning_rates": 0.01}),
    "mlp": Kind(mlp.MLPProbe, unchosen={"hidden": "256", "weight_decay": 1.0}),
    "knn": Kind(knn.KNNProbe, unchosen={"k": 1}),
    "nearest-centroid": Kind(centroid.NearestCentroidProbe, unchosen={"metric": "cosine"}),
    "lda": Kind(discriminant.LDAProbe, unchosen={"shrinkage": 0.5}),
    "label-spreading": Kind(spreading.LabelSpreadingProbe, unchosen={"k": None, "clamping": 0.9}),
    "ridge": Kind(regression.RidgeProbe, regression=True, unchosen={"alphas": 1000.0}),
    "sigmoid": Kind(regression.SigmoidProbe, regression=True, unchosen={"c_grid": 0.001}),
}
