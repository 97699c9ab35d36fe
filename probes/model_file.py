"""A fitted probe as one HDF5 file of plain arrays and JSON: never a pickle."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from embedkit.errors import DataError, EmbedkitError, UsageError, first_line
from embedkit.identity import differences, identity, remarks
from embedkit.preparation import Prepared
from embedkit.results import strict
from embedkit.store import FeatureFile
from probes.calibration import scale
from probes.registry import PROBES

FORMAT = "embedkit-probe-model"
SCHEMA_VERSION = 1


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
        What `embedkit.identity.identity` says of the feature file.
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

    def check(self, file: FeatureFile) -> list[str]:
        """Compare a feature file with the one it was fitted on; returns what is worth saying.

        Raises
        ------
        DataError
            The features were made otherwise; the message names each difference.
        """
        there, here = self.fitted_on, identity(file)
        found = differences(there, here)
        if found:
            raise DataError(
                f"its features are not of the kind that the probe was fitted on: {'; '.join(found)}. Extract "
                "these images as the others were, or fit a probe anew."
            )
        return remarks(there, here)

    def _calibrated(self, p: NDArray[np.float64], calibrated: bool) -> NDArray[np.float64]:
        return scale(p, self.temperature) if calibrated and self.temperature is not None else p


def save_probe(path: str | os.PathLike[str], saved: SavedProbe) -> None:
    """Write a probe, whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    about = {
        "kind": saved.kind,
        "names": saved.names,
        "temperature": saved.temperature,
        "settings": saved.settings,
        "fitted_on": saved.fitted_on,
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with h5py.File(temporary, "w", track_order=True) as file:
            file.attrs["format"], file.attrs["schema_version"] = FORMAT, SCHEMA_VERSION
            file.attrs["about"] = json.dumps(strict(about), sort_keys=True)
            file["baseline"] = saved.baseline
            saved.prepared.save(file.create_group("preparation"))
            group = file.create_group("probe")
            for name, array in saved.probe.state().items():
                group[name] = array
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load_probe(path: str | os.PathLike[str]) -> SavedProbe:
    """Read a probe that ``embedkit probe --save-model`` wrote; nothing in the file is executed.

    Raises
    ------
    EmbedkitError
        No such file, another kind of file, another schema, or a broken file.
    """
    path = Path(path)
    if not path.is_file():
        raise EmbedkitError(f"{path}: no such file. Write it with `embedkit probe FILE --save-model {path}`.")
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format") != FORMAT:
                raise EmbedkitError(
                    f"{path}: not a saved probe. Give a file that `embedkit probe --save-model` wrote."
                )
            if file.attrs.get("schema_version") != SCHEMA_VERSION:
                raise EmbedkitError(
                    f"{path}: schema version {file.attrs.get('schema_version')}, this embedkit reads "
                    f"{SCHEMA_VERSION}. Update embedkit, or fit the probe anew."
                )
            about = json.loads(file.attrs["about"])
            return SavedProbe(
                about["kind"],
                PROBES[about["kind"]].make.from_state(_arrays(file["probe"])),
                Prepared.load(_arrays(file["preparation"])),
                tuple(about["names"]),
                np.asarray(file["baseline"][...], np.float64),
                about["temperature"],
                about["settings"],
                about["fitted_on"],
            )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise EmbedkitError(
            f"{path}: a broken or foreign file ({first_line(error)}). Fit the probe again with --save-model."
        ) from error


def _arrays(group: Any) -> dict[str, Any]:
    return {name: np.asarray(group[name][...]) for name in group}
