"""The probes that are trained by gradient steps: `mlp` and `linear-sgd`."""

import numpy as np
import pytest
import torch

from embedkit.errors import DataError, UsageError
from probes.kinds.linear import LinearProbe
from probes.kinds.mlp import MLPProbe
from probes.kinds.sgd import SGDProbe


def ring(n=400, seed=0):
    """Two classes that no line divides."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 2, n)
    angle, radius = random.uniform(0, 2 * np.pi, n), 1 + 2 * y + 0.2 * random.normal(size=n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).astype(np.float32), y


def test_a_hidden_layer_sees_what_a_linear_probe_cannot():
    (x, y), held, (new, truth) = ring(), ring(seed=1), ring(seed=2)
    model = MLPProbe(hidden=("16", "16x16"), weight_decay=0.1).fit(x, y, validation=held)
    assert (model.predict(new) == truth).mean() > 0.97
    assert (LinearProbe(c_grid=1.0).fit(x, y).predict(new) == truth).mean() < 0.7
    assert len(model.validation_scores_) == 2
    chosen = (model.chosen_["hidden"], model.chosen_["weight_decay"])
    assert model.validation_scores_[chosen] == max(model.validation_scores_.values())
    again = MLPProbe.from_state(model.state())
    assert np.array_equal(again.predict_proba(new), model.predict_proba(new))
    assert np.array_equal(again.predict_proba(held[0]), model.validation_output_)


def test_the_same_seed_trains_the_same_network_and_validation_stops_it():
    (x, y), held = ring(100), ring(60, seed=1)
    noise = (held[0], 1 - held[1])  # labels that contradict: the loss rises from the first epochs
    one, two, other = (
        MLPProbe(hidden="16", weight_decay=0.1, random_state=seed).fit(x, y, validation=held)
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one.predict_proba(x), two.predict_proba(x))
    assert not np.array_equal(one.predict_proba(x), other.predict_proba(x))
    stopped = MLPProbe(hidden="16", weight_decay=0.1).fit(x, y, validation=noise)
    assert stopped.n_epochs_ < one.n_epochs_


def test_each_learning_rate_is_trained_as_torch_trains_it_alone():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 150)
    x = (np.eye(3, 6)[y] + random.normal(size=(150, 6))).astype(np.float32)
    coef, intercept = trained(x, y, (0.01, 0.3))
    for j, rate in enumerate((0.01, 0.3)):
        generator = torch.Generator().manual_seed(0)
        layer = torch.nn.Linear(6, 3)
        with torch.no_grad():
            layer.weight.copy_((0.01 * torch.randn(6, 1, 3, generator=generator))[:, 0].T)
            layer.bias.zero_()
        optimiser = torch.optim.SGD(layer.parameters(), lr=rate * 64 / 256, momentum=0.9)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 4)
        for _ in range(4):
            for rows in torch.randperm(150, generator=generator).split(64):
                optimiser.zero_grad()
                torch.nn.functional.cross_entropy(
                    layer(torch.tensor(x)[rows]), torch.tensor(y)[rows]
                ).backward()
                optimiser.step()
            schedule.step()
        np.testing.assert_allclose(coef[j], layer.weight.detach().numpy(), atol=1e-5)
        np.testing.assert_allclose(intercept[j], layer.bias.detach().numpy(), atol=1e-5)


def trained(x, y, rates):
    found = [SGDProbe(learning_rates=rate, epochs=4, batch_size=64).fit(x, y) for rate in rates]
    together = SGDProbe(learning_rates=rates, epochs=4, batch_size=64).fit(x, y, validation=(x, y))
    chosen = rates.index(together.chosen_["learning_rate"])
    np.testing.assert_allclose(together.coef_, found[chosen].coef_, atol=1e-6)
    return [f.coef_ for f in found], [f.intercept_ for f in found]


def test_what_is_refused():
    x, y = ring(50)
    with pytest.raises(DataError, match="no validation rows to stop the training by"):
        MLPProbe().fit(x, y)
    with pytest.raises(UsageError, match="--hidden 3x3x3: give the width of one layer"):
        MLPProbe(hidden="3x3x3").fit(x, y, validation=(x, y))
    with pytest.raises(UsageError, match="--learning-rates -1: give numbers above 0"):
        SGDProbe(learning_rates=-1.0).fit(x, y)
    with pytest.raises(DataError, match="features of 1 dimensions; this probe was fitted on 2"):
        SGDProbe(learning_rates=0.1, epochs=1).fit(x, y).predict(x[:, :1])
