"""The picture of the views: what is in it is what the extraction drew of the images."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from embedkit import extract, report
from embedkit.datasets.source_images import find_dataset
from embedkit.files.store import FeatureFile
from embedkit.images.decode import decode
from embedkit.images.options import ViewSet
from embedkit.images.preprocess import preprocessing_of
from embedkit.images.views import make_views
from reports.map.sections import views
from reports.map.views import GAP, SIDE, view_sheet


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    place = tmp_path_factory.mktemp("views") / "f.h5"
    how = {"backbone": "pixels:16", "views": "galaxy:3", "seed": 5, "size": 64, "n": 7}
    extract("simulated", output=place, **how)
    with FeatureFile(place) as opened:
        yield opened


def test_each_cell_is_the_view_that_was_averaged(file):
    dataset = find_dataset(file.made)
    sheet = view_sheet(file, lambda: dataset, pytest.fail)
    assert (sheet.name, sheet.seed, sheet.n_columns, len(sheet.ids)) == ("galaxy:3", 5, 4, 5)
    picture = Image.open(io.BytesIO(base64.b64decode(sheet.data.partition(",")[2]))).convert("RGB")
    step = SIDE + GAP
    assert picture.size == (4 * step - GAP, 5 * step - GAP)
    how = preprocessing_of(file.made.extraction.preprocessing)
    for i, name in enumerate(sheet.ids):
        row = dataset.rows.ids.tolist().index(name)
        pixels = decode(dataset.read(row), name)
        drawn = make_views(pixels, how, ViewSet("galaxy", 3), image_id=name, seed=5)
        for j, one in enumerate([how(pixels, name), *drawn]):
            cell = picture.crop((j * step, i * step, j * step + SIDE, i * step + SIDE))
            small = np.asarray(cell.resize(one.shape[1::-1], Image.Resampling.BOX), float)
            assert np.abs(small - one).mean() < 12
            others = [np.abs(small - other).mean() for k, other in enumerate(drawn, 1) if k != j]
            assert np.abs(small - one).mean() <= min(others)


def test_the_page_has_it_where_there_are_views_and_images(file, world, tmp_path):
    made = report(file.path, runs=tmp_path, output=tmp_path / "o.html", projection="pca")
    text = made.path.read_text("utf-8")
    assert "simulated, --views galaxy:3, seed 5; f.h5" in text
    bare = report(file.path, output=tmp_path / "p.html", projection="pca", thumbnails=False)
    assert '<section id="views">' not in bare.path.read_text("utf-8")
    with FeatureFile(world.features) as one_view:
        assert view_sheet(one_view, pytest.fail, pytest.fail) is None


def test_images_that_are_gone_are_said_to_be(file):
    def gone():
        raise OSError("nothing there")

    said = []
    assert view_sheet(file, gone, said.append) is None
    assert said == ["No picture of the views. nothing there"]
    assert views.section(type("Page", (), {"views": []})) is None
