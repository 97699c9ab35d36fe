"""`--targets`: which of a file's numbers are predicted."""

import numpy as np
import pytest

import embedkit
from embedkit.files.rows import Rows
from embedkit.files.store import write_features

NAMES = ("z", "empty", "mass")


@pytest.fixture
def file(tmp_path):
    """A hundred rows with two targets that the features give, and one that no row has."""
    x = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    targets = np.stack([x[:, 0], np.full(100, np.nan), x[:, 1] + 2 * x[:, 2]], axis=1)
    return write_features(tmp_path / "f.h5", x, Rows(range(100), targets=targets, target_names=NAMES))


def probe(file, tmp_path, **options):
    return embedkit.probe(file, kind="ridge", output=tmp_path / "o", **options).result


def test_the_targets_that_are_asked_for(file, tmp_path):
    result = probe(file, tmp_path, targets=("mass", "z"))
    assert result.metrics["rmse"].value < 0.1 * result.metrics["mean_rmse"].value
    assert result.provenance["selection"]["targets"] == ["mass", "z"]
    assert result.dataset.endswith("[targets mass, z]")
    alone = probe(file, tmp_path, targets=("z",))
    only = write_features(tmp_path / "z.h5", *read(file, ("z",)))
    assert alone.metrics == probe(only, tmp_path).metrics


def read(path, names):
    from embedkit.files.store import FeatureFile

    with FeatureFile(path) as file:
        columns = [NAMES.index(name) for name in names]
        rows = file.rows
        return file.read(), Rows(rows.ids, targets=rows.targets[:, columns], target_names=names)


def test_all_of_them_are_the_file_itself(file, tmp_path):
    path = write_features(tmp_path / "two.h5", *read(file, ("z", "mass")))
    one, two = probe(path, tmp_path), probe(path, tmp_path, targets=("z", "mass"))
    assert one.dataset == two.dataset
    assert one.metrics == two.metrics


def test_with_rows_and_labels_of_few(file, tmp_path):
    (tmp_path / "ids.txt").write_text("".join(f"{i}\n" for i in range(60)))
    result = probe(file, tmp_path, targets=("z",), rows=(str(tmp_path / "ids.txt"),))
    assert result.dataset.endswith("[targets z]")
    assert "ids of ids.txt" in result.dataset
    report = embedkit.probe(file, kind="ridge", targets="z", budget="20", draws=2, output=tmp_path / "o")
    assert report.results[0].provenance["selection"]["targets"] == ["z"]


def test_what_can_not_be_asked_for(file, tmp_path):
    with pytest.raises(embedkit.EmbedkitError, match=r"no row has a number for empty\. .* --targets"):
        probe(file, tmp_path)
    with pytest.raises(embedkit.EmbedkitError, match="no row has a number for empty"):
        probe(file, tmp_path, targets=("empty",))
    with pytest.raises(embedkit.UsageError, match="--targets maas: .* Did you mean 'mass'.*: z, empty, mass"):
        probe(file, tmp_path, targets=("maas",))
    with pytest.raises(embedkit.UsageError, match="--targets names z twice"):
        probe(file, tmp_path, targets=("z", "z"))
    with pytest.raises(embedkit.UsageError, match="--targets is for --kind ridge or sigmoid, not linear"):
        embedkit.probe(file, targets=("z",))
