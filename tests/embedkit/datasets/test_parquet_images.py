"""Parquet files with the bytes of images, as pyarrow writes them in the layout of the hub's data sets."""

import io
import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import load_again, load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files.store import FeatureFile

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

NAMES = ["smooth", "spiral", "edge-on"]
HUB = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"names": NAMES, "_type": "ClassLabel"},
        }
    }
}


def png(seed, side=8):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write(path, first, n, *, metadata=HUB, binary=False, paths=True, columns=None, **how):
    """Write n rows as `datasets` does, in row groups of three."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [png(i) for i in range(first, first + n)]
    cells = (
        pa.array(images, pa.binary())
        if binary
        else pa.array(
            [
                {"bytes": data, "path": f"gal{first + i}.png" if paths else None}
                for i, data in enumerate(images)
            ],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        )
    )
    given = {"image": cells, "label": pa.array([i % 3 for i in range(first, first + n)], pa.int64())}
    table = pa.table(given | {name: pa.array(values) for name, values in (columns or {}).items()})
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps(metadata)})
    pq.write_table(table, path, **({"row_group_size": 3} | how))
    return path


@pytest.fixture
def hub(tmp_path):
    """A repository of the hub as it lies on the disk."""
    root = tmp_path / "galaxies"
    write(root / "data" / "test-00000-of-00001.parquet", 0, 4)
    write(root / "data" / "train-00000-of-00002.parquet", 4, 7)
    write(root / "data" / "train-00001-of-00002.parquet", 11, 5)
    (root / "README.md").write_text("# galaxies\n")
    return root


def test_a_repository_of_the_hub_is_a_dataset(hub, monkeypatch):
    dataset = load_dataset(str(hub))
    assert [dataset.read(row) for row in range(16)] == [png(row) for row in range(16)]
    assert dataset.rows.ids.tolist() == [f"gal{row}.png" for row in range(16)]
    assert dataset.rows.class_names == tuple(NAMES)
    assert dataset.rows.labels.tolist() == [row % 3 for row in range(16)]
    assert dataset.rows.split.tolist() == ["test"] * 4 + ["train"] * 12
    assert dataset.where(9) == f"{hub}/data/train-00000-of-00002.parquet[image, row group 1, row 2]"
    monkeypatch.chdir("/")
    assert load_again(dataset.origin, dataset.rows.ids.tolist()).fingerprint == dataset.fingerprint
    assert pickle.loads(pickle.dumps(dataset.read))(5) == png(5)
    train = load_dataset(str(hub / "data" / "train-{00000..00001}-of-00002.parquet"))
    assert (len(train), train.rows.split, train.name) == (12, None, "data-train")


def test_links_of_the_hubs_cache_keep_their_names(hub, tmp_path):
    snapshot = tmp_path / "snapshot" / "data"
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted((hub / "data").iterdir())):
        (tmp_path / f"blob{number}").write_bytes(path.read_bytes())
        (snapshot / path.name).symlink_to(tmp_path / f"blob{number}")
    linked = load_dataset(str(tmp_path / "snapshot"))
    assert linked.fingerprint == load_dataset(str(hub)).fingerprint
    assert len(load_dataset(str(snapshot / "test-00000-of-00001.parquet"))) == 4


def test_rows_in_any_order_and_by_many_threads(hub):
    dataset = load_dataset(str(hub))
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(16), 5))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda row: dataset.read(int(row)), order)) == [png(int(row)) for row in order]


@pytest.mark.parametrize("block", [1, 150, 400])
def test_row_groups_larger_than_a_block(tmp_path, monkeypatch, block):
    monkeypatch.setattr("embedkit.datasets.parquet_images.BLOCK_BYTES", block)
    monkeypatch.setattr("embedkit.datasets.parquet_images.KEPT_BYTES", 1000)
    dataset = load_dataset(str(write(tmp_path / "x.parquet", 0, 20, row_group_size=20)))
    for order in (range(20), reversed(range(20)), [5, 3, 19, 0, 5]):
        assert all(dataset.read(row) == png(row) for row in order)


def test_features_are_those_of_the_files(hub, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", "./galaxies", "--backbone", "pixels:4", "-o", "hub.h5"]) == 0
    loose = tmp_path / "loose"
    loose.mkdir()
    for row in range(16):
        (loose / f"gal{row}.png").write_bytes(png(row))
    assert main(["extract", "loose", "--backbone", "pixels:4", "-o", "loose.h5"]) == 0
    with FeatureFile("hub.h5") as ours, FeatureFile("loose.h5") as files:
        order = [files.rows.ids.tolist().index(f"gal{row}.png") for row in range(16)]
        assert np.array_equal(ours.read(), files.read()[order])
    assert main(["verify", "hub.h5"]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_a_column_of_bytes(tmp_path, kind, compression):
    table = pa.table({"jpg": pa.array([png(i) for i in range(5)], kind), "y": ["a", "b", None, "a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet", compression=compression)
    dataset = load_dataset(str(tmp_path / "x.parquet"))
    assert [dataset.read(row) for row in range(5)] == [png(row) for row in range(5)]
    assert dataset.rows.labels.tolist() == [0, 1, -1, 0, 1]
    assert dataset.rows.ids.tolist() == list("01234")


def test_columns_of_other_names(tmp_path):
    ids = [1237648720693755918 + i for i in range(6)]
    about = {
        "objid": ids,
        "kind": list("abcabc"),
        "z": [0.1, None, 0.3, 0.4, 0.5, 0.6],
        "field": list("xxyyzz"),
    }
    path = str(write(tmp_path / "x.parquet", 0, 6, columns=about))
    dataset = load_dataset(path, label_column="kind", target_columns=("z",), group_column="field")
    assert dataset.rows.ids.tolist() == [str(one) for one in ids]
    assert dataset.rows.class_names == ("a", "b", "c")
    assert dataset.rows.group.tolist() == list("xxyyzz")
    assert np.allclose(dataset.rows.targets[:, 0], [0.1, np.nan, 0.3, 0.4, 0.5, 0.6], equal_nan=True)
    assert load_again(dataset.origin).fingerprint == dataset.fingerprint
    with pytest.raises(UsageError, match=r"no column 'nope'.*objid"):
        load_dataset(path, label_column="nope")
    with pytest.raises(UsageError, match="--labels-key does not apply to the shards"):
        load_dataset(path, labels_key="kind")


def test_ids_with_gaps_keep_their_digits(tmp_path):
    ids = [1237648720693755918, None, 1237648720693755920]
    path = str(write(tmp_path / "x.parquet", 0, 3, columns={"mine": pa.array(ids, pa.int64())}))
    with pytest.raises(EmbedkitError, match="empty id"):
        load_dataset(path, id_column="mine")


def test_labels_of_a_hidden_test_are_none(tmp_path):
    table = pa.table({"image": [png(0), png(1)], "label": [-1, 2]})
    meta = {"huggingface": json.dumps(HUB)}
    pq.write_table(table.replace_schema_metadata(meta), tmp_path / "x.parquet")
    rows = load_dataset(str(tmp_path / "x.parquet")).rows
    assert (rows.labels.tolist(), rows.class_names) == ([-1, 2], tuple(NAMES))


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"info": 3}', b'{"info": {"features": {"label": {"names": 5}}}}']
)
def test_metadata_that_says_something_else_names_no_classes(tmp_path, text):
    table = pa.table({"image": [png(0), png(1)], "label": [0, 2]})
    pq.write_table(table.replace_schema_metadata({"huggingface": text}), tmp_path / "x.parquet")
    assert load_dataset(str(tmp_path / "x.parquet")).rows.class_names == ("0", "2")


def test_bytes_that_are_not_there_are_an_error_of_the_image(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = [
        {"bytes": png(0), "path": "a"},
        {"bytes": None, "path": "/data/b.png"},
        None,
        {"bytes": b"", "path": "d"},
    ]
    pq.write_table(pa.table({"image": pa.array(cells, kind)}), tmp_path / "x.parquet")
    dataset = load_dataset(str(tmp_path / "x.parquet"))
    assert dataset.read(0) == png(0)
    for row in (1, 2, 3):
        with pytest.raises(ImageError, match=rf"x.parquet\[image, row group 0, row {row}\]: no bytes"):
            dataset.read(row)


def test_which_column_is_meant(tmp_path):
    two = {"a": [png(0)], "b": [png(1)]}
    pq.write_table(pa.table(two), tmp_path / "two.parquet")
    with pytest.raises(UsageError, match=r"several columns hold bytes.*a, b.*--images-key"):
        load_dataset(str(tmp_path / "two.parquet"))
    assert load_dataset(str(tmp_path / "two.parquet"), images_key="b").read(0) == png(1)
    pq.write_table(pa.table({"x": [1.0], "y": [2.0]}), tmp_path / "none.parquet")
    with pytest.raises(UsageError, match=r"no column holds the bytes of images.*embedkit import"):
        load_dataset(str(tmp_path / "none.parquet"))
    with pytest.raises(UsageError, match="column 'x' holds double"):
        load_dataset(str(tmp_path / "none.parquet"), images_key="x")


@pytest.mark.parametrize("cut", [0, 3, 100, -1, -200])
def test_a_truncated_file_is_named(hub, cut):
    path = hub / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(EmbedkitError, match=r"train-00001-of-00002.parquet: truncated, or no Parquet file"):
        load_dataset(str(hub))


def test_damage_after_it_was_opened_is_named(hub):
    dataset = load_dataset(str(hub))
    path = hub / "data" / "train-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ImageError, match=r"train-00000-of-00002.parquet: row group 0 can't be read"):
        dataset.read(5)
    path.unlink()
    with pytest.raises(EmbedkitError, match=r"train-00000-of-00002.parquet"):
        dataset.read(5)
    assert dataset.read(0) == png(0)


def test_files_of_different_columns_are_not_mixed(hub):
    table = pa.table({"image": [png(0)], "label": ["text"]})
    pq.write_table(table, hub / "data" / "train-00009.parquet")
    with pytest.raises(EmbedkitError, match=r"train-00009.parquet: its columns are not those of"):
        load_dataset(str(hub))


def test_without_pyarrow_the_extra_is_named(hub, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(EmbedkitError, match=r'pip install "embedkit-images\[shards\]"'):
        load_dataset(str(hub))


PEAK = """
import sys
from embedkit.datasets.load import load_dataset
dataset = load_dataset(sys.argv[1])
assert sum(len(dataset.read(row)) for row in range(len(dataset))) == int(sys.argv[2])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_memory_is_flat_in_the_number_of_images(tmp_path):
    image = b"P6 256 256 255\n" + np.random.default_rng(0).bytes(256 * 256 * 3)
    peak = []
    for n in (1200, 3600):  # 236 and 708 MB; 128 MiB are kept
        path = tmp_path / f"{n}.parquet"
        with pq.ParquetWriter(path, pa.schema([("image", pa.binary())]), use_dictionary=False) as writer:
            for _ in range(n // 100):
                writer.write_table(pa.table({"image": [image] * 100}))
        call = [sys.executable, "-c", PEAK, str(path), str(n * len(image))]
        peak.append(int(subprocess.run(call, capture_output=True, check=True, text=True).stdout) / 1024)
        path.unlink()
    assert peak[1] - peak[0] < 60  # MiB
