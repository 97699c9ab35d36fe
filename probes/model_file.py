"""A fitted probe, kept in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from embedkit.files.identity import FittedOn
from embedkit.files.model_file import ModelFormat, read_arrays
from embedkit.files.store import FeatureFile
from embedkit.preparing.preparation import Prepared
from embedkit.scoring.calibration import scale
from embedkit.strict_json import of_shape
from probes.kinds.registry import PROBES

FORMAT = ModelFormat(
    "embedkit-probe-model",
    1,
    missing="Write it with `embedkit probe FILE --save-model {path}`.",
    foreign="not a saved probe. Give a file that `embedkit probe --save-model` wrote.",
    outdated="fit the probe anew.",
    broken="Fit the probe again with --save-model.",
)


@dataclass(frozen=True)
class SavedProbe:
    """All that it takes to predict from new features.

    Parameters
    ----------
    kind
        A name in `PROBES`.
    probe
        The fitted estimator, with its standardisation.
    prepared
        The fitted preparation.
    names
        Of the c classes, in the order of the probabilities' columns; or of the t targets.
    baseline : (c,) or (t,) float64
        Each class's share of the training rows, or each target's mean there: what no features would give.
    temperature
        Fitted on validation rows; None for targets.
    settings
        The options of the fit, those that were chosen included, its split and seed.
    fitted_on
        What `embedkit.files.identity.identity` says of the feature file.
    """

    kind: str
    probe: Any
    prepared: Prepared
    names: tuple[str, ...]
    baseline: NDArray[np.float64]
    temperature: float | None
    settings: Mapping[str, Any]
    fitted_on: Mapping[str, Any]

    @property
    def regression(self) -> bool:
        """Whether it predicts targets instead of classes."""
        return PROBES[self.kind].regression

    def predict(self, x: NDArray[Any]) -> NDArray[Any]:
        """Return the (n,) names of the most probable classes, or (n, t) targets, of features (n, d).

        Raises
        ------
        DataError
            NaN, infinity, or another d.
        """
        z = self.prepared.transform(x)
        if self.regression:
            return np.asarray(self.probe.predict(z))
        named: NDArray[np.str_] = np.array(self.names)[self.probe.predict_proba(z).argmax(axis=1)]
        return named

    def predict_proba(self, x: NDArray[Any], *, calibrated: bool = True) -> NDArray[np.float64]:
        """Return (n, c) probabilities of features (n, d), by default at the temperature.

        Raises
        ------
        DataError
            NaN, infinity, or another d.
        UsageError
            A probe of targets.
        """
        if self.regression:
            raise UsageError(f"{self.kind} predicts targets, not probabilities. Call predict.")
        return self._calibrated(self.probe.predict_proba(self.prepared.transform(x)), calibrated)

    def outputs(self, file: FeatureFile, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return (m, c) calibrated probabilities or (m, t) targets of rows (m,) of a feature file.

        View whitening takes the view means of a file that has them.
        """
        z = self.prepared.transform_file(file, rows)
        if self.regression:
            return np.asarray(self.probe.predict(z))
        return self._calibrated(self.probe.predict_proba(z), True)

    def _calibrated(self, p: NDArray[np.float64], calibrated: bool) -> NDArray[np.float64]:
        return scale(p, self.temperature) if calibrated and self.temperature is not None else p


@dataclass(frozen=True)
class _About:
    """What a file says of its probe."""

    kind: str
    names: list[str]
    temperature: float | None
    settings: dict[str, Any]
    fitted_on: FittedOn


def save_probe(path: str | os.PathLike[str], saved: SavedProbe) -> None:
    """Write a probe, whole or not at all."""
    about = {
        "kind": saved.kind,
        "names": saved.names,
        "temperature": saved.temperature,
        "settings": saved.settings,
        "fitted_on": saved.fitted_on,
    }
    with FORMAT.create(path, about) as file:
        file["baseline"] = saved.baseline
        saved.prepared.save(file.create_group("preparation"))
        file.create_group("probe").update(saved.probe.state())


def load_probe(path: str | os.PathLike[str]) -> SavedProbe:
    """Read a probe that ``embedkit probe --save-model`` wrote; nothing in the file is executed.

    Raises
    ------
    EmbedkitError
        No such file, another kind of file, another schema, or a broken file.
    """
    with FORMAT.open(path) as (file, record):
        about = of_shape(record, _About)
        kind = PROBES[about.kind]
        return SavedProbe(
            about.kind,
            kind.make.from_state(read_arrays(file["probe"])),
            Prepared.load(read_arrays(file["preparation"])),
            tuple(about.names),
            np.asarray(file["baseline"][...], np.float64),
            about.temperature,
            about.settings,
            record["fitted_on"],
        )
