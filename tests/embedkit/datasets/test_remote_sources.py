"""Images in an object store: the same rows, fingerprints and features as from the disk."""

import io
import json
import pickle
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import load_again, load_dataset
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files import remote
from embedkit.files.store import FeatureFile


def png(seed, side=8):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def tar(first, n):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        for i in range(first, first + n):
            for name, data in ((f"{i:03d}.png", png(i)), (f"{i:03d}.cls", str(i % 3).encode())):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return out.getvalue()


@pytest.fixture
def both(bucket, object_store, tmp_path):
    """Three shards in the store, and the same on the disk."""
    (tmp_path / "local").mkdir()
    for number in range(3):
        data = tar(5 * number, 5)
        object_store.put(bucket, f"deep/shards/train-{number:03d}.tar", data)
        (tmp_path / "local" / f"train-{number:03d}.tar").write_bytes(data)
    return f"s3://{bucket}/deep/shards", str(tmp_path / "local")


def test_tar_shards_are_those_of_the_disk(both, object_store):
    there, here = both
    local = load_dataset(here)
    for source in (there, f"{there}/", f"{there}/train-{{000..002}}.tar", f"{there}/train-*.tar"):
        dataset = load_dataset(source)
        assert dataset.fingerprint == local.fingerprint
        assert [dataset.read(row) for row in range(15)] == [png(row) for row in range(15)]
    assert dataset.where(7) == f"{there}/train-001.tar[007.png]"
    assert dataset.name == "shards-train"
    assert load_dataset(f"{there}/train-001.tar").rows.ids.tolist() == [f"{i:03d}" for i in range(5, 10)]
    assert pickle.loads(pickle.dumps(dataset.read))(14) == png(14)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(dataset.read, [3, 11, 7, 0, 14] * 4)) == [
            png(row) for row in [3, 11, 7, 0, 14] * 4
        ]


def test_few_requests_read_many_images_and_the_index_is_kept(both, object_store):
    load_dataset(both[0])
    object_store.requests.clear()
    dataset = load_dataset(both[0])
    assert not [line for line in object_store.requests if line.endswith(".tar")]
    for row in range(15):
        dataset.read(row)
    assert len([line for line in object_store.requests if line.endswith(".tar")]) == 3
    object_store.put(both[0].split("/")[2], "deep/shards/train-002.tar", tar(40, 5))
    assert load_dataset(both[0]).rows.ids.tolist()[-1] == "044"


def test_a_kept_index_that_is_damaged_is_made_again(both, tmp_path):
    first = load_dataset(both[0])
    kept = sorted((tmp_path / "cache" / "shards").iterdir())
    assert len(kept) == 3
    kept[0].write_text("{")
    kept[1].write_text(json.dumps({"keys": 5}))
    assert load_dataset(both[0]).fingerprint == first.fingerprint


def test_parquet_is_that_of_the_disk(bucket, object_store, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    for number in range(2):
        rows = range(10 * number, 10 * number + 10)
        table = pa.table(
            {"image": [{"bytes": png(i), "path": f"{i}.png"} for i in rows], "label": [i % 3 for i in rows]}
        )
        name = f"data/{('test', 'train')[number]}-0000{number}.parquet"
        (tmp_path / "data").mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / name, row_group_size=4)
        object_store.put(bucket, name, (tmp_path / name).read_bytes())
    dataset, local = load_dataset(f"s3://{bucket}/data"), load_dataset(str(tmp_path / "data"))
    assert dataset.fingerprint == local.fingerprint
    assert dataset.rows.split.tolist() == ["test"] * 10 + ["train"] * 10
    assert [dataset.read(row) for row in range(20)] == [png(row) for row in range(20)]


def test_a_folder_of_images_is_that_of_the_disk(bucket, object_store, image_folder):
    folder = image_folder(10, classes=2)
    for path in sorted(folder.rglob("*.jpg")):
        object_store.put(bucket, f"sky/{path.relative_to(folder)}", path.read_bytes())
    object_store.put(bucket, "sky/.hidden/x.jpg", b"x")
    object_store.put(bucket, "sky/notes.txt", b"x")
    dataset, local = load_dataset(f"s3://{bucket}/sky"), load_dataset(str(folder))
    assert dataset.fingerprint == local.fingerprint
    assert dataset.rows.class_names == ("class0", "class1")
    assert [dataset.read(row) for row in range(10)] == [local.read(row) for row in range(10)]
    object_store.client.delete_object(Bucket=bucket, Key=f"sky/{dataset.rows.ids[3]}")
    with pytest.raises(ImageError, match=rf"s3://{bucket}/sky/{dataset.rows.ids[3]}: is not there any more"):
        dataset.read(3)


def test_a_store_in_memory(monkeypatch, tmp_path):
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path))
    remote.write("memory://sky/a-0.tar", tar(0, 4))
    dataset = load_dataset("memory://sky/a-{0..0}.tar")
    assert [dataset.read(row) for row in range(4)] == [png(row) for row in range(4)]
    assert remote.write_new("memory://sky/b", b"1") is True
    assert remote.write_new("memory://sky/b", b"2") is False
    assert sorted(remote.listing("memory://sky")) == ["a-0.tar", "b"]
    remote.delete("memory://sky/b")
    remote.delete("memory://sky/b")
    assert not remote.exists("memory://sky/b")


def test_features_are_those_of_the_disk_and_a_refusing_store_changes_nothing(
    both, object_store, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    object_store.refuse_every = 10
    monkeypatch.setattr(remote, "BLOCK_BYTES", 1024)
    call = ["--backbone", "pixels:4", "-o"]
    assert main(["extract", both[0], *call, "there.h5"]) == 0
    assert object_store.refused > 3
    assert main(["extract", both[1], *call, "here.h5"]) == 0
    with FeatureFile("there.h5") as there, FeatureFile("here.h5") as here:
        assert np.array_equal(there.read(), here.read())
        assert there.provenance["dataset"]["fingerprint"] == here.provenance["dataset"]["fingerprint"]
        assert there.provenance["dataset"]["origin"] == {"source": both[0]}


def test_what_the_store_refuses_is_named(both, bucket, object_store, capsys):
    there = both[0]
    with pytest.raises(EmbedkitError, match=rf"{there}/train-{{000..004}}.tar: 2 of 5 shards are not there"):
        load_dataset(f"{there}/train-{{000..004}}.tar")
    with pytest.raises(EmbedkitError, match=f"s3://{bucket}/nothing.tar: is not there"):
        load_dataset(f"s3://{bucket}/nothing.tar")
    with pytest.raises(EmbedkitError, match="s3://nobody-has-this/x: is not there"):
        load_dataset("s3://nobody-has-this/x")
    with pytest.raises(UsageError, match=f"s3://{bucket}/empty: nothing is there"):
        load_dataset(f"s3://{bucket}/empty")
    object_store.put(bucket, "table/labels.csv", b"file,label\n")
    with pytest.raises(UsageError, match="1 objects and no image or shard.*copy tables"):
        load_dataset(f"s3://{bucket}/table")
    with pytest.raises(UsageError, match="--root does not apply to the shards s3://"):
        load_dataset(there, root="x")
    object_store.forbidden.add(bucket)
    for source in (there, f"{there}/train-{{000..001}}.tar", f"{there}/train-000.tar"):
        assert main(["datasets", source]) == 1
        said = " ".join(capsys.readouterr().err.split())
        assert f"s3://{bucket}/deep/shards" in said
        assert "the store gives no permission" in said


def test_a_store_that_is_away_is_named(bucket, monkeypatch, capsys):
    monkeypatch.setattr(remote, "TRIES", 3)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert main(["datasets", f"s3://{bucket}/x"]) == 1
    assert f"s3://{bucket}/x: the store did not answer after 3 tries" in capsys.readouterr().err


def test_a_store_that_always_refuses_ends_the_run(both, object_store, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 3)
    dataset = load_dataset(both[0])
    object_store.refuse_every = 1
    with pytest.raises(
        EmbedkitError, match=r"train-000.tar: the store did not answer after 3 tries"
    ) as caught:
        dataset.read(0)
    assert not isinstance(caught.value, ImageError)  # which --on-error skip would take for a bad image
    object_store.refuse_every = 0
    assert dataset.read(0) == png(0)


def test_a_shard_cut_in_the_middle_is_named(both, bucket, object_store):
    object_store.put(bucket, "deep/shards/train-001.tar", tar(5, 5)[:3000])
    with pytest.raises(EmbedkitError, match=rf"{both[0]}/train-001.tar: truncated"):
        load_dataset(both[0])


def test_a_shard_that_goes_or_changes_is_named(both, bucket, object_store):
    dataset = load_dataset(both[0])
    object_store.client.delete_object(Bucket=bucket, Key="deep/shards/train-001.tar")
    with pytest.raises(EmbedkitError, match=rf"{both[0]}/train-001.tar: is not there") as caught:
        dataset.read(6)
    assert not isinstance(caught.value, ImageError)
    object_store.put(bucket, "deep/shards/train-001.tar", tar(5, 5)[:1500])
    with pytest.raises(ImageError, match="train-001.tar.*truncated"):
        dataset.read(8)
    remote._blocks.clear()
    object_store.put(bucket, "deep/shards/train-001.tar", tar(60, 5))
    with pytest.raises(ImageError, match="another file"):
        dataset.read(8)


def test_nothing_that_a_record_names_is_asked_for(both, object_store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["extract", both[0], "--backbone", "pixels:4", "-o", "f.h5"]) == 0
    object_store.requests.clear()
    for line in (
        "verify f.h5",
        "report f.h5 -o map.html",
        "leaks f.h5",
        "cluster f.h5 --method kmeans -k 2 -o runs --explain",
    ):
        assert main(line.split()) in (0, 1)
    assert object_store.requests == []
    assert f"asked only where it is named, as with --path {both[0]}" in " ".join(
        capsys.readouterr().err.split()
    )
    for origin in ({"source": both[0]}, {"source": "memory://x"}, {"source": "galaxies", "path": both[0]}):
        with pytest.raises(EmbedkitError, match="asked only where it is named"):
            load_again(origin)
    assert object_store.requests == []
    assert main(["verify", "f.h5", "--path", both[0]]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out
    assert main(["report", "f.h5", "-o", "map.html", "--path", both[0]]) == 0
    assert object_store.requests


def test_no_secret_is_said_or_kept(both, bucket, object_store, tmp_path, monkeypatch, capsys):
    from object_store import KEY, SECRET

    monkeypatch.chdir(tmp_path)
    for source in (f"s3://{KEY}:{SECRET}@{bucket}/x", f"s3://{bucket}/x.tar?X-Amz-Signature={SECRET}"):
        assert main(["datasets", source]) == 2
    object_store.forbidden.add(bucket)
    main(["datasets", both[0]])
    object_store.forbidden.clear()
    assert main(["extract", both[0], "--backbone", "pixels:4", "-o", "f.h5"]) == 0
    said = "".join(capsys.readouterr())
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    for secret in (KEY, SECRET):
        assert secret not in said
        assert secret.encode() not in kept
    assert "***" in remote._said(OSError(f"denied to {SECRET}"))


def test_without_the_package_the_extra_is_named(monkeypatch):
    remote._stores.clear()
    registry = pytest.importorskip("fsspec.registry")._registry  # which keeps what was once imported
    monkeypatch.delitem(registry, "s3", raising=False)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(
        EmbedkitError, match=r'read with s3fs, which is missing: pip install "embedkit-images\[remote\]"'
    ):
        load_dataset("s3://bucket/x.tar")
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(EmbedkitError, match="read with gcsfs, which is missing: pip install gcsfs"):
        load_dataset("gs://bucket/x.tar")
    for source in ("https://example.org/x.tar", "ftp://x/y"):
        with pytest.raises(UsageError, match="addresses begin with s3://"):
            load_dataset(source)
    with pytest.raises(UsageError, match=r"named by its path: /x\.tar"):
        load_dataset("file:///x.tar")
