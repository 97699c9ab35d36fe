"""What checks found, in numbers and in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Verdict = Literal["cause", "note", "fine", "not checked"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Parameters
    ----------
    name
        ``features``, ``labels``, ``sizes``, ``matching``, ``nuisance`` or ``structure``.
    verdict
        ``cause`` (this explains a low score), ``note`` (worth knowing), ``fine``, or ``not checked``.
    evidence
        The numbers behind it.
    sentence
        The same in words, with what to do about it.
    """

    name: str
    verdict: Verdict
    evidence: Mapping[str, Any]
    sentence: str


@dataclass(frozen=True)
class Diagnosis:
    """All findings, the causes first."""

    findings: tuple[Finding, ...]

    @property
    def causes(self) -> tuple[Finding, ...]:
        """The findings that explain a low score; none where nothing is wrong."""
        return tuple(finding for finding in self.findings if finding.verdict == "cause")

    def __getitem__(self, name: str) -> Finding:
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    @property
    def text(self) -> str:
        """The sentences, one a line, without those of what could not be checked."""
        return "\n".join(f.sentence for f in self.findings if f.verdict != "not checked")
