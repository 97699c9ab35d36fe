"""What a page tells of its feature files in words: header, provenance, and its name."""

from __future__ import annotations

import time
from collections.abc import Sequence

from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile
from embedkit.versions import own_version
from reports.report_options import ReportOptions


def facts(files: Sequence[FeatureFile], rows: Rows, *, n_new: int = 0) -> list[str]:
    """Return short facts of the images that are shown, the last of them new ones, for the header."""
    file, n = files[0], len(rows) - n_new
    found = [f"{n:,} images" if n == file.n else f"{n:,} of {file.n:,} images"]
    found += [f"{n_new:,} new"] if n_new else []
    found.append(f"{told([f'{one.d:,}' for one in files])} dimensions")
    if rows.labels is not None:
        found.append(f"{len(rows.class_names)} classes")
    if file.n_views > 1:
        found.append(f"{file.n_views} views an image")
    return found


def told(words: Sequence[str]) -> str:
    """Write ``a``, ``a and b`` or ``a, b and c``."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def stem_of(files: Sequence[FeatureFile]) -> str:
    """Return the name of a page of feature files, without folder and ending."""
    stems = [file.path.stem for file in files]
    joined = "-and-".join(stems)
    # A file's name has 255 bytes at most, and somebody reads it.
    return (
        joined if len(stems) < 4 and len(joined.encode()) < 120 else f"{stems[0]}-and-{len(stems) - 1}-more"
    )


def about(file: FeatureFile, options: ReportOptions) -> list[tuple[str, str]]:
    """Return name and value of what is told of a file's provenance."""
    found = [
        ("feature file", str(file.path)),
        ("SHA-256", file.sha256),
        ("dataset", file.dataset_name),
        ("features", file.features_name),
        ("shape", f"{file.n:,} × {file.d:,}"),
    ]
    labels = file.rows.labels
    found.append(
        ("labelled", "no labels stored" if labels is None else f"{int((labels >= 0).sum()):,} images")
    )
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    found.append(("report", f"embedkit {own_version()}, {made}, seed {options.seed}"))
    return found
