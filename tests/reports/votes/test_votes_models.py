"""Predictions read and scored, against scikit-learn and naive loops; what is wrong is named."""

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score
from votes_world import N_TRAIN, NAMES, write_applied, write_predictions

from embedkit import EmbedkitError, UsageError, load_dataset
from embedkit.files.tables import TARGET_PREDICTIONS, write_table
from embedkit.files.vote_tree import GALAXY_ZOO_2
from reports.votes.answers import votes_of
from reports.votes.losses import read_losses
from reports.votes.models import Model, read_models, reliability, smooth_or_featured
from reports.votes.numbers import rmse


@pytest.fixture(scope="module")
def found(gz):
    return votes_of(load_dataset(str(gz.table), **gz.options))


def test_the_seven_answers_are_found_by_their_descriptive_names(found):
    columns = {words: found.target_names[j] for words, j in found.looked_at}
    assert columns == {
        "smooth": "Class1.1",
        "star or artifact": "Class1.3",
        "edge-on": "Class2.1",
        "ring": "Class8.1",
        "lens or arc": "Class8.2",
        "two arms": "Class11.2",
        "merger": "Class8.6",
    }


def test_scores_are_those_of_other_libraries(gz, found):
    good, poor = read_models([f"best={gz.good}", str(gz.poor)], found)
    assert (good.name, poor.name, good.part) == ("best", "poor", "test")
    true = gz.votes.shares[N_TRAIN:]
    np.testing.assert_allclose(good.true, true, atol=1e-6)
    scored = good.scores(found)
    assert scored.metrics["rmse"].value == pytest.approx(rmse(true, gz.predicted), abs=1e-6)
    assert scored.metrics["rmse"].value < poor.scores(found).metrics["rmse"].value
    mean = gz.votes.shares[:N_TRAIN].mean(axis=0)
    assert scored.metrics["mean_rmse"].value == pytest.approx(rmse(true, mean), abs=1e-6)
    for j in (0, 13, 23):
        assert good.r2[j] == pytest.approx(r2_score(true[:, j], gz.predicted[:, j]), abs=1e-4)


def test_a_target_that_never_varies_has_no_r2():
    true = np.column_stack([np.full(5, 0.1), np.arange(5) / 10])
    model = Model("m", None, np.arange(5), true, true, "all")
    assert math.isnan(model.r2[0])
    assert model.r2[1] == 1


def test_other_names_of_the_answers_and_another_order_are_the_same_model(gz, found, tmp_path):
    order = np.random.default_rng(0).permutation(37)
    names = [GALAXY_ZOO_2.answers[j].name for j in order]
    true = gz.votes.shares[N_TRAIN:]
    path = write_predictions(
        tmp_path / "o.csv", gz.ids[N_TRAIN:], true[:, order], gz.predicted[:, order], names
    )
    other, one = read_models([str(path), str(gz.good)], found)
    np.testing.assert_array_equal(other.predicted, one.predicted)


def test_applied_predictions_are_held_against_the_datasets_own_votes(gz, found, tmp_path):
    path = write_applied(tmp_path / "a.csv", gz.ids[N_TRAIN:], gz.predicted)
    (applied,), (one,) = read_models([str(path)], found), read_models([str(gz.good)], found)
    assert applied.part == "all"
    np.testing.assert_array_equal(applied.true, one.true)


def test_test_rows_alone_count_and_the_first_draw(gz, found, tmp_path):
    ids, true = gz.ids[N_TRAIN:], gz.votes.shares[N_TRAIN:]
    parts = np.where(np.arange(len(ids)) < 10, "validation", "test")
    path = write_predictions(tmp_path / "p.csv", ids, true, gz.predicted, parts=parts)
    (model,) = read_models([str(path)], found)
    assert model.part == "test"
    assert model.rows.tolist() == list(range(N_TRAIN + 10, 60))
    path = write_predictions(tmp_path / "v.csv", ids[:10], true[:10], gz.predicted[:10], parts="validation")
    assert read_models([str(path)], found)[0].part == "validation"
    columns = {"id": [*ids, *ids], "split": ["test"] * 60, "fold": [1] * 60, "draw": [1] * 30 + [2] * 30}
    for j, name in enumerate(NAMES):
        columns |= {
            f"true:{name}": [*true[:, j], *true[:, j]],
            f"predicted:{name}": [*gz.predicted[:, j], *true[:, j]],
        }
    path = write_table(tmp_path / "d.csv", TARGET_PREDICTIONS, columns | {"squared_error": [0] * 60})
    assert len(read_models([str(path)], found)[0].rows) == 30


def test_predictions_of_something_else_are_refused_by_name(gz, found, tmp_path):
    ids, true = gz.ids[N_TRAIN:], gz.votes.shares[N_TRAIN:]
    path = write_predictions(tmp_path / "ids.csv", ["1.jpg", *ids[1:]], true, gz.predicted)
    with pytest.raises(EmbedkitError, match=r"ids.csv: '1.jpg' is no image of .*solutions"):
        read_models([str(path)], found)
    path = write_predictions(tmp_path / "few.csv", ids, true[:, :35], gz.predicted[:, :35], NAMES[:35])
    with pytest.raises(EmbedkitError, match=r"few.csv: it predicts Class1.1, .* but not Class11.5.*\(2 such"):
        read_models([str(path)], found)
    path = write_predictions(tmp_path / "true.csv", ids, np.roll(true, 1, axis=0), gz.predicted)
    with pytest.raises(EmbedkitError, match=r"true.csv: '100070.jpg' has .* as the true Class1.1, but"):
        read_models([str(path)], found)
    with pytest.raises(EmbedkitError, match=r"nothing.csv: no such file"):
        read_models(["x=nothing.csv"], found)
    with pytest.raises(UsageError, match="two models are called 'x'"):
        read_models([f"x={gz.good}", f"x={gz.poor}"], found)


def test_models_of_one_file_name_are_told_by_their_folders(gz, found, tmp_path):
    paths = []
    for name in ("ridge", "cnn"):
        (tmp_path / name).mkdir()
        paths.append(str(tmp_path / name / "predictions.csv"))
        (tmp_path / name / "predictions.csv").write_bytes(gz.good.read_bytes())
    assert [one.name for one in read_models(paths, found)] == ["ridge/predictions", "cnn/predictions"]


def test_reliability_is_a_loop_over_bins():
    rng = np.random.default_rng(0)
    predicted, true = rng.random((40, 3)), rng.random((40, 3))
    predicted[0] = (-0.2, 1.0, 1.3)  # as a regression may answer
    found = reliability(true, predicted, (0.0, 1.0))
    cells = [
        (min(max(int(p * 10), 0), 9), p, y) for p, y in zip(predicted.ravel(), true.ravel(), strict=True)
    ]
    error = 0.0
    for i, b in enumerate(sorted({one[0] for one in cells})):
        own = [(p, y) for which, p, y in cells if which == b]
        p, y = np.mean(own, axis=0)
        assert (found.predicted[i], found.true[i]) == (pytest.approx(p), pytest.approx(y))
        assert found.n[i] == len(own)
        error += len(own) / 120 * abs(p - y)
    assert found.error == pytest.approx(error)


def test_the_threshold_keeps_what_agrees_and_counts_what_is_right(gz, found):
    (model,) = read_models([str(gz.good)], found)
    kept = smooth_or_featured(model, found)
    assert [one.threshold for one in kept] == pytest.approx(np.arange(0.5, 0.951, 0.05))
    for one in kept:
        n = right = 0
        for true, predicted in zip(gz.votes.shares[N_TRAIN:], gz.predicted, strict=True):
            if max(true[0], true[1]) >= one.threshold - 1e-6:
                n += 1
                right += (true[0] >= true[1]) == (predicted[0] >= predicted[1])
        assert one.n == n
        if n:
            assert one.accuracy.value == pytest.approx(right / n)
            assert one.accuracy.low <= one.accuracy.value <= one.accuracy.high
        else:
            assert one.accuracy.value is None


def test_losses_are_read_and_their_best_epoch_found(tmp_path):
    log = tmp_path / "log.csv"
    log.write_text("epoch,images,loss,validation_loss,lr\n1,10,0.5,0.4,1\n2,20,0.3,,1\n3,30,0.2,0.35,1\n")
    (found,) = read_losses([str(log)])
    assert found.name == tmp_path.name
    assert found.best == 2
    np.testing.assert_array_equal(found.validation_loss, [0.4, np.nan, 0.35])
    assert np.isnan(found.validation_rmse).all()
    assert read_losses([f"cnn={log}"])[0].name == "cnn"
    (tmp_path / "phases.csv").write_text(
        "epoch,loss,fold,phase,images,validation_loss,validation_rmse\n0,,1,1,0,0.5,0.4\n1,0.4,1,1,48,0.4,0.3\n"
        "0,,1,2,0,0.4,0.3\n1,0.3,1,2,48,0.35,0.2\n0,,2,1,0,0.6,0.4\n"
    )
    (joined,) = read_losses([f"ft={tmp_path / 'phases.csv'}"])
    assert joined.images.tolist() == [0, 48, 48, 96]
    assert joined.validation_rmse.tolist() == [0.4, 0.3, 0.3, 0.2]
    with pytest.raises(UsageError, match="two trainings are called 'a'"):
        read_losses([f"a={log}", f"a={log}"])
    (tmp_path / "short.csv").write_text("epoch,loss\n1,0.5\n")
    with pytest.raises(EmbedkitError, match="short.csv: no column images and no column validation_loss"):
        read_losses([str(tmp_path / "short.csv")])
    (tmp_path / "back.csv").write_text("epoch,images,loss,validation_loss\n1,20,0.5,0.4\n2,10,0.5,0.4\n")
    with pytest.raises(EmbedkitError, match="back.csv: the images seen don't grow"):
        read_losses([str(tmp_path / "back.csv")])
    with pytest.raises(EmbedkitError, match="gone.csv: no such file"):
        read_losses(["a=gone.csv"])
