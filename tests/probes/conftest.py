"""A feature file whose classes a probe can nearly tell apart."""

from pathlib import Path

import numpy as np
import pytest

from embedkit.files.rows import Rows
from embedkit.files.store import Views, add_views, new_feature_file, write_features
from embedkit.preparing.fitted import unit_rows

CLASSES = ("edge on", "merger", "spiral, tight")


@pytest.fixture
def make_file(tmp_path):
    def make(
        *, n=300, name="features.h5", failed=(), features=None, views=None, nuisance=0.03, **annotations
    ) -> Path:
        random = np.random.default_rng(0)
        y = random.choice(3, size=n, p=(0.5, 0.2, 0.3))
        x = (np.eye(3, 12)[y] * 2.5 + random.normal(size=(n, 12))).astype(np.float32)
        if features is not None:
            x = features(x)
        given = {"labels": y, "class_names": CLASSES} | annotations
        given["labels"] = given["labels"](y) if callable(given["labels"]) else given["labels"]
        if given["labels"] is None:
            given["class_names"] = ()
        rows = Rows(ids=np.array([f"images/galaxy {i}.jpg" for i in range(n)]), **given)
        provenance = {"dataset": {"name": "test galaxies"}, "features_name": "vit cls-4"}
        path = tmp_path / name
        # The views of an image differ least in the directions of the classes.
        stats = views and Views(unit_rows(x), np.diag([nuisance / 3] * 3 + [nuisance] * 9), views)
        if not len(failed):
            return write_features(path, x, rows, provenance=provenance, views=stats)
        x[list(failed)] = np.nan
        with new_feature_file(path, x.shape, np.float32, rows, provenance, views=bool(views)) as file:
            file["features"][...] = x
            if stats:
                add_views(file, stats.n_views, stats.within_covariance)
                file["view_mean"][...] = unit_rows(x)
            ok = np.ones(n, bool)
            ok[list(failed)] = False
            file.create_dataset("ok", data=ok)
        return path

    return make
