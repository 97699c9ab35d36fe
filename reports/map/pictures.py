"""Pictures of the points of a map: of a feature file's images, and of those that are placed beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import EmbedkitError
from embedkit.files.store import FeatureFile
from reports.report_options import ReportOptions

if TYPE_CHECKING:
    from reports.map.evidence import Clustering
    from reports.map.laid import Laid
    from reports.map.newcomers import Newcomers
    from reports.map.sheets import Sheets


def all_pictures(
    file: FeatureFile,
    others: Newcomers | None,
    laid: Laid,
    clusterings: Sequence[Clustering],
    options: ReportOptions,
    say: Callable[[str], None],
) -> Sheets | None:
    """Return the pictures of the known images and of those that were placed, as far as they are found."""
    if not (options.thumbnails and options.max_thumbnails):
        return None
    n, m = len(laid.points), 0 if others is None else len(others.points)
    ids, xy = file.rows.ids[laid.points], laid.map.xy
    if others is not None:  # pictures of one sheet are of one size
        total = min(n, options.max_thumbnails) + min(m, options.max_thumbnails)
        options = replace(options, thumbnail_size=options.picture_size(total))
    sheets, problems = read_pictures(file, ids, xy[:n], clusterings, options)
    for text in problems:
        say(text)
    if others is None:
        return sheets
    from reports.map.sheets import Sheets, together

    theirs, problems = read_pictures(
        others.file,
        others.rows.ids,
        xy[n:],
        (),
        replace(options, path=options.transform_path),
        "Name where they are with --transform-path, or silence this with --no-thumbnails.",
    )
    for text in problems:
        say(f"--transform {options.transform}: {text}")
    if sheets is None and theirs is None:
        return None
    size = options.picture_size(n)
    return together(sheets or Sheets.none(n, size), theirs or Sheets.none(m, size))


def read_pictures(
    file: FeatureFile,
    ids: NDArray[np.str_],
    xy: NDArray[np.float32],
    clusterings: Sequence[Clustering],
    options: ReportOptions,
    fix: str = "Name where the images are with --path, or silence this with --no-thumbnails.",
) -> tuple[Sheets | None, list[str]]:
    """Return pictures of rows of a feature file, None where the images aren't found, and what is missing."""
    from embedkit.datasets.source_images import find_dataset
    from reports.map.sections.clusters import central_rows
    from reports.map.sheets import read_sheets, thinning_order
    from reports.map.thumbnails import choose_rows

    central = [
        row for clustering in clusterings for rows in central_rows(clustering).values() for row in rows
    ]
    chosen = choose_rows(len(ids), options.max_thumbnails, central, seed=options.seed)
    chosen = [chosen[i] for i in thinning_order(xy[chosen])]
    try:
        dataset = find_dataset(file.made, options.path, ids=ids.tolist(), where=str(file.path))
        crop = file.made.center_crop
        size = options.picture_size(len(chosen))
        sheets = read_sheets(dataset, ids.tolist(), chosen, size=size, center_crop=crop)
    except (EmbedkitError, OSError) as error:
        if options.path is not None:  # asked for by name: not something to go on without
            raise
        return None, [f"No pictures: {error} {fix}"]
    problems = list(sheets.notes)
    if len(chosen) < len(ids):
        problems.append(
            f"Pictures of {len(chosen):,} of {len(ids):,} images are kept; --max-thumbnails keeps more."
        )
    return sheets, problems
