"""Text: split files, CSV, TOML; strings in ids, classes and paths; command lines."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tests.hostile.case import Case
from tests.hostile.mutations import STRINGS, Random, odd_bytes, odd_text, odd_value, spoil, spoil_json
from tests.hostile.rows.features import bring
from tests.hostile.rows.results import spoil_table

TOML_VALUES = (
    *(
        '""',
        "nan",
        "inf",
        "-1",
        "10000000000000000000000",
        "true",
        "[]",
        "[[]]",
        "{}",
        "1979-05-27",
        '"[/]"',
        "[1, 'a']",
    ),
    *(
        '"\\u001b[31m"',
        "{source = 'images', x = 1}",
        "['kmeans -k nan']",
        "['--help']",
        "['linear', 3]",
        "0.5",
    ),
)


def tables(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a split file, a CSV of images, a table of labels or a TOML of a bench that is otherwise."""
    kind = random.randrange(4)
    (folder / "images").symlink_to(sound / "images")
    if kind == 0:
        bring(folder, sound, "features.h5", "split.json")
        what = spoil_json(random, folder / "split.json")
        return Case(
            [["probe", "features.h5", "--kind", "nearest-centroid", "--split", "split.json", "-o", "r"]], what
        )
    if kind == 1:
        bring(folder, sound, "labels.csv")
        what = spoil_table(random, folder / "labels.csv")
        columns = random.choice(
            ([], ["--group-column", "group"], ["--target-columns", "group"], ["--id-column", "file"])
        )
        return Case(
            [
                ["extract", "labels.csv", "-o", "x.h5", "--backbone", "pixels:4", *columns],
                ["datasets", "labels.csv"],
            ],
            what,
        )
    if kind == 2:
        name = random.choice(("by_id.csv", "by_id.npz"))
        bring(folder, sound, "features.h5", name)
        what = (spoil_table if name.endswith(".csv") and random.random() < 0.7 else spoil)(
            random, folder / name
        )
        verb = random.choice(
            (
                ["probe", "features.h5", "--kind", "nearest-centroid", "-o", "r"],
                ["cluster", "features.h5", "-o", "r"],
                ["import", "features.h5", "-o", "x.h5"],
                ["datasets", "images"],
            )
        )
        return Case([[*verb, "--labels", name]], what)
    bring(folder, sound, "bench.toml")
    path = folder / "bench.toml"
    if random.random() < 0.3:
        what = spoil(random, path)
    else:
        lines = path.read_text(encoding="utf-8").splitlines()
        row = random.choice([i for i, line in enumerate(lines) if "=" in line])
        key = random.choice((lines[row].split("=")[0], lines[row].split("=")[0], '"[/]"', "unknown", "limit"))
        value = random.choice(TOML_VALUES)
        if (key.strip(), value) == ("reports", "true"):
            value = "1"  # of a map UMAP compiles itself in every child, which takes half a minute
        lines[row] = f"{key} = {value}"
        path.write_text("\n".join(lines), encoding="utf-8")
        what = lines[row]
    return Case([["bench", "bench.toml", *random.choice(([], ["--dry-run"]))]], what)


def strings(random: Random, folder: Path, sound: Path) -> Case:
    """Draw ids, classes, groups, targets or file names that are hostile text."""
    if random.random() < 0.4:
        return _paths(random, folder, sound)
    bring(folder, sound, "features.h5")
    text = h5py.string_dtype()
    words = [odd_text(random).replace("\0", "") for _ in range(4)]
    words = [word.encode("utf-8", "replace").decode()[:3000] for word in words]
    what = random.choice(("ids", "classes", "groups", "names"))
    with h5py.File(folder / "features.h5", "r+") as file:
        ids = file["ids"].asstr()[...]
        if what == "ids":
            ids[:4] = words
            del file["ids"]
            file.create_dataset("ids", data=ids.astype(object), dtype=text)
        elif what == "classes":
            names = [words[0] or "x", words[1] or "y"]
            file["labels"].attrs["class_names"] = json.dumps(names)
        elif what == "groups":
            group = np.array([words[i % 4] for i in range(len(ids))], dtype=object)
            file.create_dataset("group", data=group, dtype=text)
        else:
            record = json.loads(file.attrs["provenance"])
            record["dataset"]["name"], record["features_name"] = words[0], words[1]
            record["dataset"]["origin"] = {"source": words[2]}
            file.attrs["provenance"] = json.dumps(record)
    probe = ["probe", "features.h5", "--kind", "nearest-centroid", "-o", "runs", "--save-model", "p.h5"]
    chains = [
        [
            ["cluster", "features.h5", "--method", "kmeans", "-k", "2", "-o", "runs", "--explain"],
            ["leaderboard", "runs"],
        ],
        [probe, ["probe", "features.h5", "--apply", "p.h5"], ["leaderboard", "runs", "--html", "b.html"]],
        [probe, ["report", "features.h5", "-o", "map.html", "--runs", "runs", "--max-points", "4"]],
        [["leaks", "features.h5", "--pairs", "pairs.csv"], ["verify", "features.h5"]],
        [["quality", "features.h5", "-o", "runs"], ["leaderboard", "runs", "--format", "csv"]],
    ]
    return Case(random.choice(chains), f"{what}: {words!r}")


def _paths(random: Random, folder: Path, sound: Path) -> Case:
    places = []
    for i in range(4):
        word = odd_text(random).replace("\0", "").replace("/", "_")[:60] or "x"
        if word in (".", ".."):
            word = "dot"
        name = os.fsencode(f"{i}") + word.encode("utf-8", "surrogateescape" if _escapes(word) else "replace")
        if random.random() < 0.2:
            name += b"\xff\xfe"
        place = folder / "pictures" / os.fsdecode(name)
        place.mkdir(parents=True, exist_ok=True)
        target = place / os.fsdecode(name[:80] + b".png")
        shutil.copy(sorted((sound / "images" / "a").iterdir())[i], target)
        places.append(target)
    if random.random() < 0.4:
        places[0].write_bytes(odd_bytes(random, b"no picture"))
    calls = [
        ["datasets", "pictures"],
        [
            "extract",
            "pictures",
            "-o",
            "x.h5",
            "--backbone",
            "pixels:4",
            *random.choice(([], ["--on-error", "skip"])),
        ],
        ["verify", "x.h5"],
    ]
    return Case(calls, f"paths {[place.name for place in places]!r}")


def _escapes(word: str) -> bool:
    try:
        word.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


ODD_WORDS = (
    *(
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1e400",
        "9" * 400,
        "9" * 5000,
        "0x10",
        "1_000",
        "１２",
        "",
        " ",
    ),
    *(
        "\udcff\udcfe",
        "x" * 5000,
        "a" * 300 + ".h5",
        "/",
        ".",
        "..",
        "/dev/null",
        "/dev/full",
        "/dev/zero",
        "/proc/self/mem",
    ),
    *(
        "features.h5",
        "missing.h5",
        "[red]",
        "[/]",
        "--",
        "-",
        "-o",
        "--json",
        "=",
        ",",
        ",,",
        "1,2",
        "a,b",
        "5%",
        "%",
        "101%",
    ),
    *(
        "\x1b[31m",
        "\u202ex",
        "~",
        "~nobody",
        "$HOME",
        "*",
        "é",
        "runs",
        "auto",
        "none",
        "all",
        "file",
        "cpu",
        "cuda:99",
        "images",
    ),
    *(
        "probe.model.h5",
        "bench.toml",
        "labels.csv",
        "split.json",
        "galaxy:0",
        "galaxy:x",
        "d4",
        "pca0",
        "pca101",
        "pca-1",
        "whiten0",
    ),
    *(
        "galaxy:99999999999999999999",
        "whiten99999",
        "pixels:0",
        "pixels:1e3",
        "test_vit",
        "b0",
        "b-1",
        "b99",
        "2147483648",
    ),
)
_FIRST = ("features.h5", "images", "runs", "vit.h5", "bench.toml", "labels.csv")


def command_lines(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a command line over sound files."""
    bring(
        folder,
        sound,
        "features.h5",
        "vit.h5",
        "probe.model.h5",
        "labels.csv",
        "split.json",
        "runs",
        "bench.toml",
    )
    shutil.copytree(sound / "images", folder / "images")
    flags = _flags()
    verb = random.choice(
        [name for name in flags if name not in ("demo", "doctor")]
    )  # doctor asks the hub whether it is there
    words = [verb]
    first = {"leaderboard": "runs", "extract": "images", "pretrain": "images", "bench": "images"}.get(
        verb, "features.h5"
    )
    if verb not in ("datasets", "doctor", "recipes"):
        words.append(first if random.random() < 0.8 else random.choice((*_FIRST, *ODD_WORDS)))
    if verb == "bench":
        words += ["--backbones", "pixels:4"]  # the default one is the hub's
    if verb == "compare":
        words.append("features.h5")
    if verb in ("extract", "attention", "pretrain"):
        words += ["--backbone", "pixels:4" if verb == "extract" else "test_vit", "--random-init", "0"]
    for _ in range(random.choice((1, 1, 2, 3))):
        flag = random.choice(flags[verb])
        if flag in ("--open", "--help", "--fsdp"):
            continue
        words.append(flag)
        for _ in range(random.choice((0, 1, 1, 1, 1, 2))):
            words.append(
                random.choice((*ODD_WORDS, *STRINGS))
                if random.random() < 0.9
                else str(odd_value(random))[:200]
            )
    words = [_argument(word) for word in words]
    if verb == "pretrain":
        words += ["--epochs", "1", "--batch-size", "8", "--held-out", "4", "--image-size", "32"]
    if verb == "report":
        words += ["--max-points", "4"]  # beyond that UMAP compiles itself in every child
    return Case([words], "a command line")


def _argument(word: str) -> str:
    """Return what can be an argument of a process: no NUL, and bytes."""
    return os.fsdecode(word.encode("utf-8", "surrogateescape" if _escapes(word) else "replace")).replace(
        "\0", ""
    )


_FLAGS: dict[str, list[str]] = {}


def _flags() -> dict[str, list[str]]:
    """Return the flags of every verb."""
    import argparse

    from embedkit.verbs import VERBS, target

    if not _FLAGS:
        for name, verb in VERBS.items():
            parser = argparse.ArgumentParser()
            configure: Any = target(verb.command)
            configure(parser)
            _FLAGS[name] = sorted({flag for action in parser._actions for flag in action.option_strings})
    return _FLAGS
