"""What `embedkit verify` can be asked for; imports nothing heavy, for `--help`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from embedkit.backbones.options import adapter_option, weights_option
from embedkit.options import check, option, path_option


@dataclass(frozen=True, kw_only=True)
class VerifyOptions:
    """How much is extracted again, and where its inputs are now.

    Parameters
    ----------
    n_rows
        How many readable rows to extract again, spread evenly; 0 for none.
    path, weights, adapter
        New places of what has moved since the file was made: the dataset, the weights file, the adapter.
    """

    n_rows: int = option(8, "rows to look at, spread evenly; 0 checks the file alone", least=0, metavar="N")
    path: str | None = path_option()
    weights: Path | None = weights_option()
    adapter: Path | None = adapter_option()

    def __post_init__(self) -> None:
        check(self)

    @property
    def moved(self) -> dict[str, str | Path]:
        """New places by what has moved."""
        given = {"path": self.path, "weights": self.weights, "adapter": self.adapter}
        return {what: place for what, place in given.items() if place is not None}
