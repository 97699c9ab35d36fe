"""Feature files in an object store: the bytes of one on the disk, whatever the store does meanwhile."""

import json

import numpy as np
import pytest

from embedkit.cli import main
from embedkit.datasets.load import load_dataset
from embedkit.errors import EmbedkitError, FeatureFileError, UsageError
from embedkit.extraction.extract import extract
from embedkit.extraction.options import ExtractOptions
from embedkit.files import remote
from embedkit.files.remote import Address
from embedkit.files.store import FeatureFile


@pytest.fixture
def folder(image_folder, monkeypatch, tmp_path):
    """Twenty images that make five parts."""
    monkeypatch.setattr("embedkit.extraction.parts.PART_ROWS", 4)
    monkeypatch.chdir(tmp_path)
    return str(image_folder(20, classes=2))


def run(folder, output, *more):
    return main(["extract", folder, "--backbone", "pixels:4", "--batch-size", "4", "-o", output, *more])


def test_the_object_is_the_file_of_the_disk(folder, bucket, object_store, tmp_path, capsys):
    output = f"s3://{bucket}/deep/features.h5"
    assert run(folder, output) == 0
    assert f"{output}: 20 x 48 features extracted" in capsys.readouterr().out
    assert run(folder, "here.h5") == 0
    assert object_store.get(bucket, "deep/features.h5") == (tmp_path / "here.h5").read_bytes()
    assert object_store.keys(bucket) == ["deep/features.h5"]
    capsys.readouterr()
    assert run(folder, output) == 0
    assert "features already there" in capsys.readouterr().out
    assert run(folder, output, "--storage", "float16") == 1
    assert f"{output}: made in another way" in capsys.readouterr().err
    assert run(folder, output, "--storage", "float16", "--overwrite") == 0
    with FeatureFile(output) as file:
        assert file.provenance["storage"] == "float16"


@pytest.mark.parametrize("views", [[], ["--views", "rot4"]])
def test_a_store_that_refuses_every_tenth_request_changes_nothing(
    folder, bucket, object_store, tmp_path, views
):
    object_store.refuse_every = 10
    assert run(folder, f"s3://{bucket}/f.h5", *views) == 0
    assert object_store.refused
    object_store.refuse_every = 0
    assert run(folder, "here.h5", *views) == 0
    assert object_store.get(bucket, "f.h5") == (tmp_path / "here.h5").read_bytes()


def test_shards_of_several_machines_share_the_store(
    folder, bucket, object_store, tmp_path, monkeypatch, capsys
):
    output = f"s3://{bucket}/f.h5"
    for number in (2, 0, 1):
        monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / f"machine{number}"))
        assert run(folder, output, "--shard", f"{number}/3") == 0
        if number != 1:
            assert f"{output}: waiting for" in capsys.readouterr().err
            assert "f.h5" not in object_store.keys(bucket)
            assert "f.h5.parts/manifest.json" in object_store.keys(bucket)
    assert run(folder, "here.h5") == 0
    assert object_store.get(bucket, "f.h5") == (tmp_path / "here.h5").read_bytes()
    assert object_store.keys(bucket) == ["f.h5"]


def test_what_was_finished_stays_when_the_store_goes_away(
    folder, bucket, object_store, tmp_path, monkeypatch, capsys
):
    output = f"s3://{bucket}/f.h5"
    monkeypatch.setattr(remote, "TRIES", 2)

    def shut(line):
        if line.startswith("PUT") and "part-000003" in line:
            object_store.refuse_every = 1

    object_store.before = shut
    assert run(folder, output) == 1
    said = capsys.readouterr().err
    assert f"{output}.parts/part-000003.npz: the store did not answer after 2 tries" in said
    object_store.before, object_store.refuse_every = lambda _: None, 0
    kept = [key for key in object_store.keys(bucket) if "part-" in key]
    assert len(kept) == 3
    object_store.requests.clear()
    assert run(folder, output) == 0
    assert "Going on: 3 of 5 parts are there already" in capsys.readouterr().err
    assert not [line for line in object_store.requests if line.startswith("PUT") and "part-000001" in line]
    assert run(folder, "here.h5") == 0
    assert object_store.get(bucket, "f.h5") == (tmp_path / "here.h5").read_bytes()


def interrupted(folder, output, object_store, monkeypatch):
    monkeypatch.setattr(remote, "TRIES", 2)

    def shut(line):
        if line.startswith("PUT") and line.endswith("/f.h5"):
            object_store.refuse_every = 1

    object_store.before = shut
    assert run(folder, output) == 1
    object_store.before, object_store.refuse_every = lambda _: None, 0


def test_a_damaged_or_vanished_part_is_computed_again(
    folder, bucket, object_store, tmp_path, monkeypatch, capsys
):
    output = f"s3://{bucket}/f.h5"
    interrupted(folder, output, object_store, monkeypatch)
    keys = [key for key in object_store.keys(bucket) if "part-" in key]
    assert len(keys) == 5
    object_store.put(bucket, keys[1], object_store.get(bucket, keys[1])[:-50])
    object_store.put(bucket, keys[2], object_store.get(bucket, keys[3]))
    object_store.client.delete_object(Bucket=bucket, Key=keys[4])
    capsys.readouterr()
    assert run(folder, output) == 0
    said = capsys.readouterr().err
    assert f"{output}.parts/part-000001.npz: damaged" in said
    assert f"{output}.parts/part-000002.npz: damaged" in said
    assert run(folder, "here.h5") == 0
    assert object_store.get(bucket, "f.h5") == (tmp_path / "here.h5").read_bytes()


def test_parts_of_another_extraction_are_refused(folder, bucket, object_store, monkeypatch, capsys):
    output = f"s3://{bucket}/f.h5"
    interrupted(folder, output, object_store, monkeypatch)
    assert run(folder, output, "--storage", "float16") == 1
    assert f"{output}.parts: an unfinished extraction was begun in another way" in capsys.readouterr().err
    object_store.put(bucket, "f.h5.parts/manifest.json", b"{}")
    assert run(folder, output) == 1
    assert f"{output}.parts/manifest.json: can't be read" in capsys.readouterr().err
    assert run(folder, output, "--overwrite") == 0
    assert object_store.keys(bucket) == ["f.h5"]


def test_a_bucket_without_permission_is_named(folder, bucket, object_store, capsys):
    object_store.forbidden.add(bucket)
    assert run(folder, f"s3://{bucket}/f.h5") == 1
    assert f"s3://{bucket}/f.h5: the store gives no permission" in capsys.readouterr().err


def test_what_is_no_feature_file_is_not_replaced(folder, bucket, object_store, capsys):
    object_store.put(bucket, "photo.h5", b"\xff\xd8\xff" + bytes(100))
    assert run(folder, f"s3://{bucket}/photo.h5", "--overwrite") == 2
    assert f"-o s3://{bucket}/photo.h5: a picture is there" in capsys.readouterr().err
    with pytest.raises(UsageError, match="--parts leaves a folder on this machine"):
        extract(
            load_dataset(folder),
            f"s3://{bucket}/set",
            backbone="pixels:4",
            options=ExtractOptions(parts=True),
        )


def test_verbs_read_a_feature_file_in_a_store(folder, bucket, object_store, tmp_path, capsys):
    output = f"s3://{bucket}/f.h5"
    assert run(folder, output) == 0
    object_store.requests.clear()
    assert main(["cluster", output, "--method", "kmeans", "-k", "2", "-o", "runs"]) == 0
    assert main(["probe", output, "--kind", "nearest-centroid", "-o", "runs"]) == 0
    assert main(["verify", output]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out
    assert not [line for line in object_store.requests if line.startswith("GET") and line.endswith("f.h5")]
    line = json.loads((tmp_path / "runs" / "results.jsonl").read_text().splitlines()[0])
    assert line["dataset"].endswith("images")
    assert run(folder, output, "--views", "rot4", "--overwrite") == 0
    with FeatureFile(output) as file:
        assert file.n_views == 4
    with pytest.raises(FeatureFileError, match=f"s3://{bucket}/none.h5: no such file. Make it with"):
        FeatureFile(f"s3://{bucket}/none.h5")
    object_store.put(bucket, "bad.h5", b"no HDF5 at all" * 20)
    with pytest.raises(EmbedkitError, match="bad.h5: not a readable HDF5 file"):
        FeatureFile(f"s3://{bucket}/bad.h5")


def test_a_copy_is_made_once(folder, bucket, object_store, tmp_path, monkeypatch, capsys):
    output = f"s3://{bucket}/f.h5"
    assert run(folder, output) == 0
    monkeypatch.setenv("EMBEDKIT_DATA", str(tmp_path / "another"))
    for _ in range(3):
        with FeatureFile(output) as file:
            assert np.isfinite(file.read()).all()
    assert capsys.readouterr().err.count("read from a copy") == 1


def test_an_address_is_written_with_both_slashes():
    address = Address("s3://bucket/a/b.h5")
    assert str(address) == "s3://bucket/a/b.h5"
    assert str(address.with_name("c.h5")) == "s3://bucket/a/c.h5"
    assert str(address.parent / "x") == "s3://bucket/a/x"
    assert (address.name, address.suffix) == ("b.h5", ".h5")


def test_a_plan_writes_nothing(folder, bucket, object_store, capsys):
    assert run(folder, f"s3://{bucket}/f.h5", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["output"] == f"s3://{bucket}/f.h5"
    assert object_store.keys(bucket) == []
