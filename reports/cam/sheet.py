"""The maps as one picture, a row an image, that says of itself what it shows: a report shows it too."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from PIL import Image

from reports.cam.answers import SaidVotes
from reports.cam.drawing import maps_sentence, tiles
from reports.cam.study import Study
from reports.cam.verdict import verdict
from reports.picture_records import CamRecord, MappedImage
from reports.sections import Made

ROWS = 24
# Characters of an id: a picture's text is short. An image of a longer id is shown, and can't be pinned.
ID = 300


def sheet(study: Study, made: Made) -> tuple[Image.Image, CamRecord]:
    """Return the maps of up to `ROWS` images, of each class or group as many, and what they are.

    Parameters
    ----------
    study
        What the page shows.
    made
        What makes the page.
    """
    said, about, shown = study.said, study.about, study.shown
    place = {int(one): i for i, one in enumerate(shown.places)}
    rows, drawn = [], []
    names: list[str] = []
    for group, one in _chosen(study):
        row = dict(tiles(shown, place[one]))
        names = list(row)
        drawn.append(np.concatenate([*row.values()], axis=1))
        rows.append(MappedImage(str(said.ids[one])[:ID], group, said.caption(one)))
    record = CamRecord(
        made.command,
        study.dataset,
        made.fingerprint,
        f"{about.backbone} ({about.kind}) trained on {about.dataset}",
        names,
        rows,
        maps_sentence(study),
        verdict(study.sanity, study.what),
    )
    return Image.fromarray(np.concatenate(drawn)), record


def _chosen(study: Study) -> Iterator[tuple[str, int]]:
    """Give group and place of each image of the picture: as many of each group, no image twice."""
    said, most = study.said, study.per_class
    groups = said.groups(most) if isinstance(said, SaidVotes) else said.groups(most, study.classes)
    n_groups = sum(len(places) > 0 for _, places in groups)
    taken: set[int] = set()
    for group, places in groups:
        for one in places[: max(1, ROWS // n_groups)].tolist():
            if one not in taken and len(taken) < ROWS:
                taken.add(one)
                yield group, one
