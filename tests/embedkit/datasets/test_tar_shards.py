"""Tar shards in WebDataset's convention: by the package's own writer and reader, and by tarfile."""

import contextlib
import io
import json
import pickle
import random
import tarfile

import numpy as np
import pytest
from PIL import Image

from embedkit.cli import main
from embedkit.datasets.load import load_again, load_dataset
from embedkit.datasets.shards import expanded
from embedkit.errors import EmbedkitError, ImageError, UsageError
from embedkit.files.store import FeatureFile
from embedkit.images.decode import decode


def png(seed, side=8):
    out = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_tar(path, members, **how):
    """Write (name, bytes) or (TarInfo, bytes) in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", **how) as tar:
        for name, data in members:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if info.isreg():
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(n, first=0):
    for i in range(first, first + n):
        yield f"{i:06d}.png", png(i)
        yield f"{i:06d}.cls", str(i % 3).encode()


@pytest.fixture
def shards(tmp_path):
    for number in range(3):
        write_tar(tmp_path / "shards" / f"train-{number:06d}.tar", samples(4, 4 * number))
    return tmp_path / "shards"


# The package leaves its last shard open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_package_webdataset_reads_the_same(tmp_path):
    wds = pytest.importorskip("webdataset")
    with wds.ShardWriter(str(tmp_path / "w-%06d.tar"), maxcount=5, verbose=0) as writer:
        for i in range(12):
            about = {"label": f"class {i % 4}", "ra": i / 2, "dec": -i / 3, "split": ("train", "test")[i % 2]}
            writer.write(
                {"__key__": f"dir.1/gal{i:03d}", "png": png(i), "json": about, "txt": f"caption {i}"}
            )
    pattern = str(tmp_path / "w-{000000..000002}.tar")
    theirs = list(wds.WebDataset(pattern, shardshuffle=False, empty_check=False))
    ours = load_dataset(pattern)
    assert ours.rows.ids.tolist() == [one["__key__"] for one in theirs]
    assert [ours.read(row) for row in range(12)] == [one["png"] for one in theirs]
    about = [json.loads(one["json"]) for one in theirs]
    assert [ours.rows.class_names[label] for label in ours.rows.labels] == [one["label"] for one in about]
    assert np.allclose(ours.rows.coordinates, [(one["ra"], one["dec"]) for one in about])
    assert ours.rows.split.tolist() == [one["split"] for one in about]
    written = load_dataset(pattern, label_column="split", target_columns=("ra",))
    assert set(written.rows.class_names) == {"train", "test"}
    assert written.rows.targets[:, 0].tolist() == [one["ra"] for one in about]


@pytest.mark.parametrize("compress", [False, True])
def test_classes_of_the_writer_are_labels(tmp_path, compress):
    wds = pytest.importorskip("webdataset")
    path = tmp_path / ("x.tar.gz" if compress else "x.tar")
    with wds.TarWriter(str(path)) as writer:
        for i in range(6):
            writer.write({"__key__": str(i), "jpg": png(i), "cls": 10 - i})
    if compress:
        with pytest.raises(UsageError, match=r"x.tar.gz: compressed.*Unpack it to .tar"):
            load_dataset(str(path))
        path.rename(tmp_path / "renamed.tar")
        with pytest.raises(EmbedkitError, match=r"renamed.tar: compressed \(gzip\)"):
            load_dataset(str(tmp_path / "renamed.tar"))
        return
    rows = load_dataset(str(path)).rows
    assert [rows.class_names[label] for label in rows.labels] == [str(10 - i) for i in range(6)]
    assert rows.class_names == ("5", "6", "7", "8", "9", "10")


def test_a_folder_a_pattern_and_a_glob_are_one_dataset(shards, monkeypatch):
    monkeypatch.chdir(shards.parent)
    by = [
        load_dataset(name)
        for name in ("shards", "shards/train-{000000..000002}.tar", "shards/train-*.tar", f"{shards}/")
    ]
    assert len({one.fingerprint for one in by}) == 1
    assert len(by[0]) == 12
    assert [one.name for one in by] == ["shards", "shards-train", "shards-train", "shards"]
    assert by[0].rows.class_names == ("0", "1", "2")
    assert by[0].read(7) == png(7)
    assert by[0].where(7) == f"{shards}/train-000001.tar[000007.png]"
    monkeypatch.chdir("/")
    for one in by:
        assert load_again(one.origin, one.rows.ids.tolist()).fingerprint == one.fingerprint
    assert pickle.loads(pickle.dumps(by[0].read))(3) == png(3)


def test_every_verb_that_takes_a_dataset_takes_shards(shards, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["datasets", "shards", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 12
    assert main(["extract", "shards", "--backbone", "pixels:4", "-o", "tar.h5"]) == 0
    loose = tmp_path / "loose"
    for number in range(12):
        (loose / str(number % 3)).mkdir(parents=True, exist_ok=True)
        (loose / str(number % 3) / f"{number:06d}.png").write_bytes(png(number))
    assert main(["extract", str(loose), "--backbone", "pixels:4", "-o", "loose.h5"]) == 0
    with FeatureFile("tar.h5") as tar, FeatureFile("loose.h5") as files:
        order = [files.rows.ids.tolist().index(f"{i % 3}/{i:06d}.png") for i in range(12)]
        assert np.array_equal(tar.read(), files.read()[order])
        assert np.array_equal(tar.rows.labels, files.rows.labels[order])
    assert main(["verify", "tar.h5"]) == 0
    assert "8 rows extracted again agree" in capsys.readouterr().out
    assert main(["report", "tar.h5", "-o", "map.html"]) == 0
    assert (tmp_path / "map.html").stat().st_size > 10_000


def test_names_of_shards_are_a_split_where_they_differ(tmp_path):
    write_tar(tmp_path / "d" / "train-0.tar", samples(3))
    write_tar(tmp_path / "d" / "val-0.tar", samples(2, 3))
    assert load_dataset(str(tmp_path / "d")).rows.split.tolist() == ["train"] * 3 + ["validation"] * 2
    assert load_dataset(str(tmp_path / "d" / "train-0.tar")).rows.split is None


def test_a_tar_of_class_folders_is_read_as_the_folder(tmp_path):
    names = ["smooth/a.jpg", "smooth/b.jpg", "spiral/c.JPG"]
    path = write_tar(tmp_path / "x.tar", [(f"./{name}", png(i)) for i, name in enumerate(names)])
    rows = load_dataset(str(path)).rows
    assert rows.ids.tolist() == ["smooth/a", "smooth/b", "spiral/c"]
    assert rows.class_names == ("smooth", "spiral")
    assert rows.labels.tolist() == [0, 0, 1]


def test_labels_in_text_and_captions(tmp_path, capsys):
    few = [
        (f"{i}.{end}", data)
        for i in range(8)
        for end, data in (("png", png(i)), ("txt", b"ab"[i % 2 : i % 2 + 1]))
    ]
    assert load_dataset(str(write_tar(tmp_path / "few.tar", few))).rows.class_names == ("a", "b")
    captions = [
        (name, f"a picture of {name}".encode() if name.endswith("txt") else data) for name, data in few
    ]
    path = str(write_tar(tmp_path / "captions.tar", captions))
    assert load_dataset(path).rows.labels is None
    assert "--labels-key txt takes it" in capsys.readouterr().err
    assert len(load_dataset(path, labels_key="txt").rows.class_names) == 8
    with pytest.raises(UsageError, match=r"no sample has a label in .cls"):
        load_dataset(path, labels_key="cls")


def test_several_images_in_a_sample_want_a_name(tmp_path):
    pairs = [
        (f"{i}.{end}", png(i + at)) for i in range(3) for at, end in enumerate(("input.png", "output.png"))
    ]
    path = str(write_tar(tmp_path / "pairs.tar", pairs))
    with pytest.raises(EmbedkitError, match=r"pairs.tar\[0\]: several images .*--images-key input.png"):
        load_dataset(path)
    chosen = load_dataset(path, images_key="output.png")
    assert [chosen.read(row) for row in range(3)] == [png(i + 1) for i in range(3)]
    assert load_again(chosen.origin).fingerprint == chosen.fingerprint


def link(name, target, kind=tarfile.SYMTYPE):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def test_hostile_names_are_ids_and_nothing_is_unpacked(tmp_path, capsys, monkeypatch):
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    names = ["../../evil.png", "/etc/passwd.png", "a/../b.png", "~/x.png", "C:\\y.png", "\x1b[31mred.png"]
    members = [(name, png(i)) for i, name in enumerate(names)]
    members += [(link("l.png", "/etc/passwd"), b""), (link("h.png", "../../evil.png", tarfile.LNKTYPE), b"")]
    members += [
        (link("d.png", "", kind), b"") for kind in (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    ]
    path = write_tar(tmp_path / "x.tar", members)
    before = sorted(tmp_path.rglob("*"))
    dataset = load_dataset(str(path))
    assert dataset.rows.ids.tolist() == [name.removesuffix(".png") for name in names]
    assert [dataset.read(row) for row in range(6)] == [png(i) for i in range(6)]
    assert sorted(tmp_path.rglob("*")) == before
    said = capsys.readouterr().err
    assert "left out 5 that are links, pipes or devices" in said
    assert "\x1b" not in said


def test_one_key_twice_is_refused_by_name(shards, tmp_path):
    apart = write_tar(tmp_path / "apart.tar", [("a.png", png(0)), ("b.png", png(1)), ("a.cls", b"1")])
    with pytest.raises(EmbedkitError, match=r"apart.tar: the key 'a' occurs twice"):
        load_dataset(str(apart))
    twice = write_tar(tmp_path / "twice.tar", [("a.png", png(0)), ("a.PNG", png(1))])
    with pytest.raises(EmbedkitError, match=r"twice.tar: 'a.PNG' occurs twice"):
        load_dataset(str(twice))
    write_tar(shards / "train-000003.tar", samples(2, 11))
    with pytest.raises(EmbedkitError, match=r"'000011' in .*train-000002.tar, .*train-000003.tar"):
        load_dataset(str(shards))


@pytest.mark.parametrize("cut", [0, 100, 512, 700, 1024, 2000, 3072, 4096, 5000, 8192])
def test_a_truncated_shard_is_named(shards, cut):
    path = shards / "train-000001.tar"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(EmbedkitError, match=r"train-000001.tar: (truncated|no tar file)"):
        load_dataset(str(shards))


def test_a_broken_header_in_the_middle_is_not_the_end(shards):
    path = shards / "train-000001.tar"
    data = bytearray(path.read_bytes())
    with tarfile.open(path) as tar:
        at = tar.getmembers()[4].offset
    data[at + 10] ^= 1
    path.write_bytes(data)
    with pytest.raises(EmbedkitError, match=r"train-000001.tar: damaged: at byte .* no header"):
        load_dataset(str(shards))


def test_shards_put_together_with_cat_are_refused(shards):
    both = b"".join((shards / f"train-00000{i}.tar").read_bytes() for i in range(2))
    (shards / "train-000002.tar").write_bytes(both)
    with pytest.raises(EmbedkitError, match="goes on after its end"):
        load_dataset(str(shards))


def test_a_shard_that_changes_or_goes_is_an_error_of_the_image(shards):
    dataset = load_dataset(str(shards))
    path = shards / "train-000001.tar"
    data = path.read_bytes()
    path.write_bytes(data[:1500])
    with pytest.raises(ImageError, match=r"train-000001.tar\[000006.png\]: the shard is truncated"):
        dataset.read(6)
    write_tar(path, samples(4, 40))
    with pytest.raises(ImageError, match="the shard is another file"):
        dataset.read(6)
    path.unlink()
    with pytest.raises(ImageError, match="train-000001.tar: cannot be read"):
        dataset.read(6)


def test_no_bytes_make_a_traceback_or_a_loop(shards):
    path = shards / "train-000001.tar"
    whole = path.read_bytes()
    draw = random.Random(0)
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(draw.randint(1, 12)):
            at = draw.choice(range(0, len(data), 512)) + draw.randint(0, 511)
            data[at] = draw.choice((0, 0xFF, 0x80, draw.randint(0, 255)))
        if draw.random() < 0.5:  # with a checksum that agrees
            for start in range(0, len(data), 512):
                if data[start + 257 : start + 262] == b"ustar":
                    block = data[start : start + 512]
                    total = sum(block[:148]) + 256 + sum(block[156:])
                    data[start + 148 : start + 156] = b"%06o\0 " % total
        path.write_bytes(data)
        with contextlib.suppress(EmbedkitError):
            dataset = load_dataset(str(path))
            for row in range(len(dataset)):
                decode(dataset.read(row), dataset.where(row))


def test_a_size_below_zero_goes_in_no_circle(tmp_path):
    # https://github.com/python/cpython/issues/130577
    info = tarfile.TarInfo("a.png")
    info.pax_headers = {"size": "-1024"}
    path = write_tar(tmp_path / "x.tar", [("0.png", png(0)), (info, png(1))], format=tarfile.PAX_FORMAT)
    with pytest.raises(EmbedkitError, match=r"x.tar: .*declares -1,024 bytes"):
        load_dataset(str(path))
    header = bytearray(tarfile.TarInfo("b.png").tobuf())
    header[124:136] = b"\xff" * 10 + b"\xfc\x00"
    header[148:156] = b"%06o\0 " % (sum(header[:148]) + 256 + sum(header[156:]))
    path.write_bytes(bytes(header) + bytes(2048))
    with pytest.raises(EmbedkitError, match=r"x.tar: .*declares -"):
        load_dataset(str(path))


@pytest.mark.parametrize("how", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_other_writings(tmp_path, how):
    names = ["ü/" + "x" * 180 + ".png", "Ελλάδα.png"]
    path = write_tar(tmp_path / "x.tar", [(name, png(i)) for i, name in enumerate(names)], format=how)
    dataset = load_dataset(str(path))
    assert dataset.rows.ids.tolist() == [name.removesuffix(".png") for name in names]
    assert [dataset.read(row) for row in range(2)] == [png(0), png(1)]


def test_what_is_not_there_is_named(shards, tmp_path):
    with pytest.raises(EmbedkitError, match=r"2 of 5 shards are not there, such as .*000003.tar"):
        load_dataset(str(shards / "train-{000000..000004}.tar"))
    with pytest.raises(UsageError, match="no file has such a name"):
        load_dataset(str(shards / "val-*.tar"))
    with pytest.raises(UsageError, match="no such file or folder"):
        load_dataset(str(shards / "train-9.tar"))
    with pytest.raises(UsageError, match="--hdu|does not apply"):
        load_dataset(str(shards), file_column="x")
    empty = write_tar(tmp_path / "e" / "x.tar", [("a.json", b"{}"), ("b.cls", b"1")])
    with pytest.raises(EmbedkitError, match="no images"):
        load_dataset(str(empty))


def test_json_that_is_none_is_named(tmp_path):
    path = write_tar(tmp_path / "x.tar", [("a.png", png(0)), ("a.json", b"{'label': NaN}")])
    with pytest.raises(EmbedkitError, match=r"x.tar\[a.json\]: no JSON"):
        load_dataset(str(path))


@pytest.mark.parametrize(
    "pattern",
    [
        "a{000..011}.tar",
        "a{0..11}.tar",
        "a{1..010}.tar",
        "{a,b}-{0..2}.tar",
        "{x}.tar",
        "x.tar",
        "a{98..101}",
    ],
)
def test_braces_are_written_out_as_the_package_does(pattern):
    braceexpand = pytest.importorskip("braceexpand")
    assert expanded(pattern) == list(braceexpand.braceexpand(pattern))


def test_ranges_that_are_too_long_or_go_down():
    for pattern in ("x{5..3}.tar", "x{0..99999999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(UsageError):
            expanded(pattern)


def test_no_output_replaces_a_shard(shards, monkeypatch, capsys):
    before = (shards / "train-000000.tar").read_bytes()
    call = ["extract", str(shards), "--backbone", "pixels:4", "--overwrite"]
    assert main([*call, "-o", str(shards / "train-000000.tar")]) == 2
    assert "an archive is there" in capsys.readouterr().err
    assert (shards / "train-000000.tar").read_bytes() == before


def test_images_beside_shards_are_the_dataset(shards, capsys):
    (shards / "a.png").write_bytes(png(0))
    assert load_dataset(str(shards)).rows.ids.tolist() == ["a.png"]
    assert "3 .tar" in capsys.readouterr().err
