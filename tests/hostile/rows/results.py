"""results.jsonl, and the tables that its lines name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.hostile.case import Case
from tests.hostile.mutations import Random, json_bytes, no_file, odd_json, odd_text, spoil
from tests.hostile.rows.features import bring

READS = [
    ["leaderboard", "runs"],
    ["leaderboard", "runs", "--json"],
    ["leaderboard", "runs", "--format", "csv", "-o", "board.csv"],
    ["leaderboard", "runs", "--html", "board.html", "--wide"],
    ["leaderboard", "runs", "--format", "markdown"],
    ["report", "features.h5", "-o", "map.html", "--runs", "runs", "--no-thumbnails", "--max-points", "4"],
    ["quality", "features.h5", "--runs", "runs", "-o", "out"],
    ["cluster", "features.h5", "--method", "kmeans", "-k", "2", "-o", "runs"],
]
NAMES = ("predictions", "assignments", "features_file", "features_sha256", "time", "model")


def results(random: Random, folder: Path, sound: Path) -> Case:
    """Draw a folder of results in which a line or a table is otherwise."""
    bring(folder, sound, "runs", "features.h5")
    path = folder / "runs" / "results.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    lines += [json.loads(line) for line in (sound / "linear" / "results.jsonl").read_bytes().splitlines()]
    for table in (sound / "linear").glob("*.csv"):
        shutil.copy(table, folder / "runs" / table.name)
    kind = random.randrange(8)
    if kind == 0:
        what = spoil(random, path)
    elif kind in (1, 2, 3):
        tables = sorted((folder / "runs").glob("*.csv"))
        what = spoil_table(random, random.choice(tables))
    else:
        number = random.randrange(len(lines))
        if kind == 4:
            name = random.choice(NAMES)
            lines[number]["provenance"][name] = odd_place(random, folder)
        elif kind == 5:
            lines.append(odd_json(random, lines[number], times=1))
        else:
            lines[number] = odd_json(random, lines[number])
        texts = [json.dumps(line).encode() for line in lines]
        if random.random() < 0.2:
            texts[number] = json_bytes(random, lines[number])
        path.write_bytes(b"\n".join(texts) + random.choice((b"\n", b"", b"\n\n", b"\r\n")))
        what = f"line {number + 1}: {texts[number][:3000]!r}"
    return Case(random.sample(READS, 2), what)


def odd_place(random: Random, folder: Path) -> object:
    """Return a file name that a record should not have, some of them there."""
    kind = random.randrange(4)
    if kind == 0:
        no_file(random, folder / "runs" / "pipe.csv")
        return "pipe.csv"
    if kind == 1:
        return random.choice(
            ("/dev/zero", "/dev/stdin", "/dev", "../features.h5", "x\0y", "\ud800", "a" * 300, "/")
        )
    if kind == 2:
        no_file(random, folder / "pipe.h5")
        return str(folder / "pipe.h5")
    return random.choice((None, 1, [], {}, True, odd_text(random)))


def spoil_table(random: Random, path: Path) -> str:
    """Change a cell, a line or the header of a CSV, or its bytes."""
    if random.random() < 0.4:
        return spoil(random, path)
    lines = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row = random.randrange(len(lines))
    kind = random.randrange(6)
    if kind == 0:
        lines[row][random.randrange(len(lines[row]))] = odd_text(random)
    elif kind == 1:
        lines[row].append(odd_text(random))
    elif kind == 2:
        lines.append(lines[row])
    elif kind == 3:
        del lines[row]
    elif kind == 4:
        lines[0][random.randrange(len(lines[0]))] = odd_text(random)
    else:
        column = random.randrange(len(lines[0]))
        for line in lines[1:]:
            line[column] = random.choice(("", "1e999", "nan", "-5", "9" * 30, odd_text(random)))
    text = "\n".join(",".join(line) for line in lines) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return f"{path.name}: line {row + 1}, way {kind}"
