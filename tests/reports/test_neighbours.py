"""`embedkit similar`, `embedkit outliers` and `FeatureFile.neighbors`: exact, whoever asks."""

import numpy as np
import pytest

import embedkit
from embedkit.cli import main
from embedkit.errors import EmbedkitError, UsageError
from embedkit.files.neighbours import nearest_rows
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, new_feature_file, write_features
from embedkit.files.tables import OUTLIERS, SIMILAR, read_table


@pytest.fixture
def made(tmp_path):
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 5)).astype(np.float32)
    x[7] = x[3]
    labels = np.where(np.arange(60) % 3, np.arange(60) % 2, -1)
    rows = Rows(ids=np.array([f"im {i}" for i in range(60)]), labels=labels, class_names=("a", "b"))
    return write_features(tmp_path / "f.h5", x, rows), x.astype(np.float64)


def cosines(x):
    z = x / np.linalg.norm(x, axis=1, keepdims=True)
    near = z @ z.T
    np.fill_diagonal(near, -np.inf)
    return near


def test_neighbors_are_scikit_learns(made):
    from sklearn.neighbors import NearestNeighbors

    path, x = made
    with FeatureFile(path) as file:
        found = file.neighbors(k=4)
        some = file.neighbors(k=4, ids=["im 9", "im 2"])
    distance, index = NearestNeighbors(n_neighbors=5, metric="cosine", algorithm="brute").fit(x).kneighbors(x)
    own = [row[row != i][:4] for i, row in enumerate(index)]
    assert found.index.shape == found.near_ids.shape == found.similarity.shape == (60, 4)
    # Rows 3 and 7 are copies: which of two equal ones comes first, scikit-learn leaves open.
    either = [[3 if j == 7 else int(j) for j in row] for row in own]
    assert [[3 if j == 7 else j for j in row] for row in found.index.tolist()] == either
    assert all(row.index(3) < row.index(7) for row in found.index.tolist() if 3 in row and 7 in row)
    assert found.similarity[0] == pytest.approx(1 - distance[0][1:], abs=1e-6)
    assert (found.index[3, 0], found.index[7, 0]) == (7, 3)
    assert some.ids.tolist() == ["im 9", "im 2"]
    assert np.array_equal(some.index, found.index[[9, 2]])
    assert np.array_equal(found.near_ids, np.array([f"im {i}" for i in range(60)])[found.index])


def test_neighbors_leave_out_what_could_not_be_read(tmp_path):
    x = np.eye(4, 3, dtype=np.float32)
    rows = Rows(ids=np.array(list("abcd")))
    path = tmp_path / "f.h5"
    with new_feature_file(path, x.shape, np.float32, rows, {}) as file:
        file["features"][...] = np.where(np.arange(4)[:, None] == 1, np.nan, x)
        file.create_dataset("ok", data=np.array([True, False, True, True]))
    with FeatureFile(path) as file:
        found = file.neighbors(k=10)
        assert found.index.tolist() == [[2, 3], [0, 3], [0, 2]]  # all as far: in the file's order
        with pytest.raises(EmbedkitError, match=r"no row 'z'"):
            file.neighbors(ids=["z"])
        with pytest.raises(UsageError, match="at least 1"):
            file.neighbors(k=0)


def test_rows_of_zeros_and_of_huge_numbers():
    bank = np.array([[0, 0], [1e30, 0], [1e-30, 1e-30], [3, 0]])
    place, similarity = nearest_rows(bank[[1]], bank, 4)
    assert place[0].tolist() == [1, 3, 2, 0]
    assert similarity[0].tolist() == pytest.approx([1, 1, 2**-0.5, 0])
    assert nearest_rows(bank, bank[:1], 3, own=np.zeros(4, np.int64))[0].shape == (4, 0)


def test_similar_by_id(made, tmp_path, capsys):
    path, x = made
    found = embedkit.similar(path, id="im 3", n=6, output=tmp_path / "s.csv")
    order = np.argsort(-cosines(x)[3], kind="stable")[:6]
    assert found.ids.tolist() == [f"im {i}" for i in order]
    table = read_table(tmp_path / "s.csv", SIMILAR)
    assert table["id"].tolist() == found.ids.tolist()
    assert table["similarity"] == pytest.approx(cosines(x)[3][order], abs=1e-5)
    assert set(table["query"]) == {"im 3"}
    assert main(["similar", str(path), "--id", "im 3", "--n", "2"]) == 0
    assert "im 7" in capsys.readouterr().out
    assert main(["similar", str(path), "--id", "im 33x"]) == 1
    assert "no row 'im 33x'. Did you mean" in capsys.readouterr().err


def test_outliers_are_far_from_their_kth(made, tmp_path):
    path, x = made
    found = embedkit.outliers(path, n=5, kth=3, output=tmp_path / "o.csv", runs=tmp_path)
    distance = 1 - np.sort(cosines(x), axis=1)[:, -3]
    order = np.argsort(-distance, kind="stable")[:5]
    assert found.ids.tolist() == [f"im {i}" for i in order]
    table = read_table(tmp_path / "o.csv", OUTLIERS)
    assert table["distance"] == pytest.approx(distance[order], abs=1e-5)
    assert table["nearest"].tolist() == [f"im {i}" for i in cosines(x)[order].argmax(axis=1)]


def test_more_than_there_are(made):
    path, _ = made
    assert len(embedkit.outliers(path, n=500, kth=500).ids) == 60
    assert len(embedkit.similar(path, id="im 0", n=500).ids) == 59


def test_two_images_and_one(tmp_path):
    two = write_features(tmp_path / "two.h5", np.eye(2, dtype=np.float32), Rows(ids=np.array(["a", "b"])))
    assert embedkit.similar(two, id="a").title.startswith("1 image most like a")
    assert embedkit.outliers(two).notes == ("Only 1 other image: the distance to the farthest counts.",)
    one = write_features(tmp_path / "one.h5", np.eye(1, dtype=np.float32), Rows(ids=np.array(["a"])))
    with pytest.raises(EmbedkitError, match="no other image to be like a"):
        embedkit.similar(one, id="a")
    with pytest.raises(EmbedkitError, match="one image is like no other"):
        embedkit.outliers(one)


def test_which_image_is_said_once(made):
    path, _ = made
    for wrong in ({}, {"id": "im 3", "image": "x.jpg"}):
        with pytest.raises(UsageError, match="Which image"):
            embedkit.similar(path, **wrong)
    with pytest.raises(EmbedkitError, match="does not say what it was made from"):
        embedkit.similar(path, image=path)


def test_a_new_image_is_put_through_the_files_own_backbone(tmp_path):
    from PIL import Image

    dataset = embedkit.load_dataset("simulated", n=12, size=32)
    embedkit.extract("simulated", tmp_path / "f.h5", n=12, size=32, backbone="pixels:8")
    Image.fromarray(dataset.read(5)).save(tmp_path / "<new>.png")
    page = tmp_path / "page.html"
    found = embedkit.similar(tmp_path / "f.h5", image=tmp_path / "<new>.png", n=3, output=page)
    assert found.ids[0] == dataset.rows.ids[5]
    assert found.table["similarity"][0] == pytest.approx(1, abs=1e-6)
    text = page.read_text()
    assert text.count("<figure>") == 4
    assert text.count('src="data:image/') == 4
    assert "<new>" not in text
    assert "http" not in text.replace("http-equiv", "")
    listed = embedkit.outliers(tmp_path / "f.h5", n=4, output=tmp_path / "o.html")
    assert (tmp_path / "o.html").read_text().count("<figure>") == len(listed.ids) == 4
