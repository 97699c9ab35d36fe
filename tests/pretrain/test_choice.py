"""Which epoch is kept, and what labels say of it."""

import json

import numpy as np
import pytest
import torch

from embedkit.backbones.load import load_backbone
from embedkit.backbones.options import BackboneSpec
from embedkit.errors import UsageError
from embedkit.images.options import Overrides
from pretrain.choice import agreement, best, criterion, out_of_patience, sentence, verdict
from pretrain.monitors import feature_monitors, knn_accuracy
from pretrain.options import PretrainOptions
from pretrain.trainer import Run
from pretrain.without_labels import WithoutLabels

SPEC = BackboneSpec("test_vit", random_init=0, preprocessing=Overrides(image_size=32, resize=32))


def make_log(criteria, accuracies=()):
    log = [{"epoch": 0, "criterion": 99.0, "knn_accuracy": 0.1}, {"epoch": 1, "loss": 1.0}]
    for i, value in enumerate(criteria):
        row = {"epoch": i + 2, "loss": 1.0, "criterion": value}
        log.append(row | ({"knn_accuracy": accuracies[i]} if accuracies else {}))
    return log


def test_the_criterion_falls_with_noise_and_with_collapse():
    random = torch.Generator().manual_seed(0)
    x, noise = torch.randn(128, 16, generator=random), torch.randn(128, 16, generator=random)
    good = criterion(feature_monitors(x, x + 0.1 * noise))
    assert good > 2 * criterion(feature_monitors(x, x + 3 * noise))
    assert good > 2 * criterion(feature_monitors(x[:, :1], x[:, :1]))
    assert criterion(feature_monitors(torch.ones(128, 16), torch.ones(128, 16))) < 1e-3


def test_the_best_trained_epoch_is_the_first_of_equals_and_never_the_start():
    log = make_log([1, 3, 2, 3])
    assert best(log)["epoch"] == 3
    assert best(log[:2]) is None
    assert [out_of_patience(log[:n], 2) for n in range(2, 7)] == [False, False, False, False, True]
    assert not out_of_patience(log, None)


def test_the_agreement_is_a_rank_correlation_of_trained_epochs():
    assert agreement(make_log([1, 2, 3], [0.1, 0.2, 0.9])) == pytest.approx(1)
    assert agreement(make_log([1, 2, 3], [0.9, 0.2, 0.1])) == pytest.approx(-1)
    assert agreement(make_log([1, 2], [0.9, 0.2])) is None
    assert agreement(make_log([1, 2, 3], [0.5, 0.5, 0.5])) is None
    record = verdict(make_log([1, 5, 3], [0.1, 0.2, 0.9]))
    assert record["knn_accuracy"] == {"start": 0.1, "chosen": 0.2, "last": 0.9}
    json.dumps(record, allow_nan=False)
    assert "Kept epoch 3 of 4" in sentence(record)
    assert "over 3 epochs: 0.50" in sentence(record)
    assert "kNN" not in sentence(verdict(make_log([1, 5, 3])))


def test_knn_accuracy_is_a_loop_over_the_other_rows():
    random = np.random.default_rng(0)
    x, labels = random.normal(size=(40, 3)), random.integers(-1, 3, 40)
    x[labels == 1] += 1
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    hits = []
    for i in np.flatnonzero(labels >= 0):
        others = [j for j in np.flatnonzero(labels >= 0) if j != i]
        near = sorted(others, key=lambda j: -unit[i] @ unit[j])[:5]
        votes = np.zeros(3)
        for j in near:
            votes[labels[j]] += np.exp(unit[i] @ unit[j] / 0.07)
        hits.append(votes.argmax() == labels[i])
    found = knn_accuracy(torch.tensor(x), torch.tensor(labels), k=5)
    assert found == pytest.approx(np.mean(hits))


def make_run(folder, criteria, monkeypatch, **more):
    """A run whose criterion is told in advance."""
    values = iter([0.0, *criteria])
    monkeypatch.setattr("pretrain.held_out.criterion", lambda _: next(values))
    frames = torch.randint(0, 255, (24, 3, 40, 40), dtype=torch.uint8, generator=torch.manual_seed(0))
    options = PretrainOptions(
        batch_size=8, held_out=8, epochs=4, local_views=0, prototypes=16, lr=1e-2, device="cpu", **more
    )
    return Run(WithoutLabels(load_backbone(SPEC), frames, options, labels=np.arange(24) % 3), folder)


def test_the_state_of_the_best_epoch_is_kept_beside_the_last(tmp_path, monkeypatch):
    run = make_run(tmp_path, [1, 3, 2, 2], monkeypatch)
    kept = {}
    look = run.look

    def keep_and_look():
        state = run.objective.evaluated.state_dict()
        kept[run.epoch] = {k: v.clone() for k, v in state.items()}
        return look()

    run.look = keep_and_look
    trained = run.train()
    for which, epoch in (("last", 4), ("chosen", 2)):
        for name, value in trained.load(which).state_dict().items():
            torch.testing.assert_close(value, kept[epoch][name], rtol=0, atol=0)
    assert [row["epoch"] for row in trained.log if "knn_accuracy" in row] == [0, 1, 2, 3, 4]
    assert not all(torch.equal(kept[2][name], kept[4][name]) for name in kept[2])


def test_patience_ends_a_run_and_ends_it_for_good(tmp_path, monkeypatch, capsys):
    trained = make_run(tmp_path, [3, 2, 1, 0], monkeypatch, patience=2).train()
    assert trained.log[-1]["epoch"] == 3
    assert "Stopped early: 2 looks" in capsys.readouterr().err
    again = make_run(tmp_path, [3, 2, 1, 0], monkeypatch, patience=2).train()
    assert again.log == trained.log
    assert "steps done already" in capsys.readouterr().err


def test_monitors_look_where_they_are_asked_to_and_at_the_end(tmp_path, monkeypatch):
    trained = make_run(tmp_path, [1, 2], monkeypatch, monitor_every=3).train()
    assert [row["epoch"] for row in trained.log if "criterion" in row] == [0, 3, 4]
    assert "knn accuracy" in (tmp_path / "curves.svg").read_text()
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 6
    with pytest.raises(UsageError, match="--patience 0: give an integer of at least 1"):
        PretrainOptions(patience=0)
