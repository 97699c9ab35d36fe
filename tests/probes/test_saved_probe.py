import csv
import json

import h5py
import numpy as np
import pytest

from embedkit.cli import main
from embedkit.errors import DataError, EmbedkitError, UsageError
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, Views, write_features
from embedkit.scoring.calibration import scale
from probes.apply import apply
from probes.kinds.registry import PROBES
from probes.model_file import load_probe
from probes.options import ProbeOptions
from probes.run import probe

QUICK = {"mlp": {"hidden": ("8",), "weight_decay": (0.1,)}}


def made_by(**changes):
    """Provenance of features, with some of it changed."""
    backbone = {"name": "vit", "weights_sha256": "11", "adapter_sha256": None}
    provenance = {
        "backbone": backbone | changes.pop("backbone", {}),
        "pooling": {"layers": [11], "pool": "cls"},
        "preprocessing": {"image_size": 224},
    }
    return provenance | changes


def write(path, *, n=240, d=12, seed=0, names=("a", "b", "c"), provenance=None, labels=True):
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, n)
    x = (np.eye(3, d)[y] * 2.5 + random.normal(size=(n, d))).astype(np.float32)
    targets = 1 / (1 + np.exp(-x[:, :2] + random.normal(size=(n, 2))))
    # Classes are numbered by their names, so that another order of names is another numbering.
    order = np.argsort(np.argsort(names))
    known = {"labels": order[y], "class_names": tuple(sorted(names))} if labels else {}
    rows = Rows(
        ids=np.array([f"s{seed}-{i}" for i in range(n)]), targets=targets, target_names=("p", "q"), **known
    )
    return write_features(path, x, rows, provenance=made_by() if provenance is None else provenance)


@pytest.mark.parametrize("kind", PROBES)
def test_a_saved_probe_predicts_as_the_fitted_one(tmp_path, kind):
    path, new = write(tmp_path / "f.h5"), write(tmp_path / "new.h5", seed=1)
    options = ProbeOptions(kind=kind, prep="l2+pca6", **QUICK.get(kind, {}))
    report = probe(path, options, save_model=tmp_path / "probe.model")
    saved, fit = load_probe(tmp_path / "probe.model"), report.fits[0]
    with FeatureFile(new) as file:
        x, rows = file.read(), file.rows
    applied = apply(tmp_path / "probe.model", new)
    z = fit.prepared.transform(x)
    if saved.regression:
        assert np.array_equal(saved.predict(x), fit.model.predict(z))
        assert np.array_equal(applied.outputs, saved.predict(x))
        rmse = np.sqrt(((saved.predict(x) - rows.targets) ** 2).mean())
        assert applied.metrics["rmse"].value == pytest.approx(rmse)
        assert applied.metrics["mean_rmse"].value > rmse
        with pytest.raises(UsageError, match="predicts targets, not probabilities"):
            saved.predict_proba(x)
    else:
        assert np.array_equal(saved.predict_proba(x, calibrated=False), fit.model.predict_proba(z))
        assert np.array_equal(saved.predict_proba(x), scale(fit.model.predict_proba(z), fit.temperature))
        assert np.array_equal(applied.outputs, saved.predict_proba(x))
        predicted = np.array(rows.class_names)[fit.model.predict(z)]
        assert np.array_equal(saved.predict(x), predicted)
        right = (predicted == np.array(rows.class_names)[rows.labels]).mean()
        assert applied.metrics["accuracy"].value == pytest.approx(right)


def test_the_command_keeps_a_probe_and_predicts_with_it(tmp_path, capsys):
    path, new = write(tmp_path / "f.h5"), write(tmp_path / "new.h5", seed=1, names=("c", "a", "zebra"))
    model, predictions = str(tmp_path / "probe.model"), tmp_path / "predictions.csv"
    assert main(["probe", str(path), "--save-model", model, "-o", str(tmp_path / "runs")]) == 0
    assert main(["probe", "--apply", model, str(new), "-o", str(predictions), "--json"]) == 0
    out, err = capsys.readouterr()
    document = json.loads(out[out.index('{\n  "model"') :])
    with predictions.open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    classes = ("a", "b", "c")
    assert list(lines[0]) == [
        "id",
        "true",
        "predicted",
        "probability",
        *(f"probability:{c}" for c in classes),
    ]
    assert [line["id"] for line in lines[:2]] == ["s1-0", "s1-1"]
    for line in lines[:20]:
        p = [float(line[f"probability:{c}"]) for c in classes]
        assert line["predicted"] == classes[int(np.argmax(p))]
        assert sum(p) == pytest.approx(1, abs=1e-4)
    # The new file calls its first class c, its second a: names decide, and zebra is not scored.
    known = [line for line in lines if line["true"] != "zebra"]
    assert document["metrics"]["accuracy"]["value"] == pytest.approx(
        np.mean([line["true"] == line["predicted"] for line in known])
    )
    assert document["metrics"]["accuracy"]["value"] < 0.2
    assert f"{len(lines) - len(known)} rows of classes it doesn't know: zebra" in err
    assert np.sum(document["confusion"]) == len(known)
    assert main(["probe", "--apply", model, str(path), "-o", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert "probe of f on 240 rows" in out
    assert "fitted on rows of this very file" in err
    assert (tmp_path / "f-by-probe.csv").exists()


def test_without_labels_it_predicts_and_scores_nothing(tmp_path):
    probe(write(tmp_path / "f.h5"), save_model=tmp_path / "m")
    applied = apply(tmp_path / "m", write(tmp_path / "new.h5", labels=False, seed=2))
    assert applied.true is None
    assert not applied.metrics
    assert "No labels stored, so no scores." in applied.notes
    strangers = write(tmp_path / "other.h5", names=("x", "y", "z"))
    assert any("no row is of one: no scores" in line for line in apply(tmp_path / "m", strangers).notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"provenance": made_by(backbone={"name": "dino"})},
            'backbone.name is "dino", of the fitted file "vit"',
        ),
        ({"provenance": made_by(backbone={"weights_sha256": "22"})}, 'weights_sha256 is "22"'),
        ({"provenance": made_by(pooling={"layers": [11], "pool": "mean"})}, 'pooling.pool is "mean"'),
        ({"d": 13}, "d is 13, of the fitted file 12"),
    ],
)
def test_features_of_another_kind_are_refused_by_what_differs(tmp_path, capsys, changes, message):
    model = str(tmp_path / "m")
    probe(write(tmp_path / "f.h5"), save_model=model)
    new = write(tmp_path / "new.h5", **changes)
    assert main(["probe", "--apply", model, str(new), "-o", str(tmp_path / "p.csv")]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Extract these images as the others were" in said
    assert not (tmp_path / "p.csv").exists()
    with pytest.raises(DataError, match="dimensions"):
        load_probe(model).predict(np.zeros((2, 5), np.float32))


def test_view_whitening_goes_along(tmp_path):
    random = np.random.default_rng(0)
    y = np.arange(120) % 2
    mean = (random.normal(size=(120, 4)) * [5, 1, 1, 1] + np.outer(y, [0, 4, 0, 0])).astype(np.float32)
    rows = Rows(ids=[f"r{i}" for i in range(120)], labels=y, class_names=("a", "b"))
    views = Views(mean, np.diag([25.0, 1, 1, 1]), 2)
    path = write_features(tmp_path / "f.h5", mean, rows, views=views)
    probe(path, ProbeOptions(prep="view-whiten:2"), save_model=tmp_path / "m")
    assert apply(tmp_path / "m", path).metrics["accuracy"].value > 0.9


def test_what_is_no_saved_probe(tmp_path, make_file):
    path = make_file()
    with pytest.raises(UsageError, match="--save-model keeps one probe, and the 3 folds fit one each"):
        probe(path, ProbeOptions(split="kfold:3"), save_model=tmp_path / "m")
    with pytest.raises(EmbedkitError, match=r"no such file. Write it with `embedkit probe FILE --save-model"):
        load_probe(tmp_path / "m")
    with pytest.raises(EmbedkitError, match="not a saved probe. Give a file that"):
        load_probe(path)
    (tmp_path / "text").write_text("no HDF5")
    with pytest.raises(EmbedkitError, match="a broken or foreign file"):
        load_probe(tmp_path / "text")
    probe(path, save_model=tmp_path / "m")
    load_probe(tmp_path / "m")
    with h5py.File(tmp_path / "m", "a") as file:
        file["baseline"][0] = np.nextafter(file["baseline"][0], 2)
    with pytest.raises(EmbedkitError, match="its arrays are not those that were saved.* Fit the probe again"):
        load_probe(tmp_path / "m")
    probe(path, save_model=tmp_path / "m")
    with h5py.File(tmp_path / "m", "a") as file:
        file.attrs["schema_version"] = 9
    with pytest.raises(EmbedkitError, match="schema version 9, this embedkit reads 1"):
        load_probe(tmp_path / "m")


def test_apply_takes_no_options_of_a_fit(make_file, capsys):
    assert main(["probe", "--apply", "m", str(make_file()), "--prep", "l2"]) == 2
    assert "--apply fits nothing, so --prep has no say. Leave it out." in capsys.readouterr().err
