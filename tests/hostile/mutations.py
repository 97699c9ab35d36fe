"""What may happen to a file: bytes that change, JSON that says something else, no file in its place."""

from __future__ import annotations

import copy
import json
import os
import random as random_module
import socket
from pathlib import Path
from typing import Any

Random = random_module.Random

STRINGS = (
    *(
        "",
        " ",
        "text",
        "0",
        "-1",
        "nan",
        "None",
        "a/b",
        "../../outside",
        "/dev/zero",
        "pipe",
        ".",
        "~",
        "$HOME",
    ),
    *(
        "\x1b[31mred\x1b[0m",
        "\x1b]0;title\x07",
        "\u202eabc",
        "\u2066x\u2069",
        "\u200b",
        "\u2028",
        "\x7f",
        "\x9b31m",
    ),
    *("[red]", "[/]", "[bold", "[/red]", "]", "[link=http://x.invalid]y[/link]", "{0}", "%s", "\\", "'", '"'),
    *(
        "=1+1",
        "+1",
        "-1+1",
        "@sum(1)",
        "\t=1",
        "\r=1",
        "'=1",
        "</script><script>alert(1)</script>",
        "<!--",
        "&lt;",
    ),
    *("galaxy10-sdss", "galaxy10-decals", "first-radio", "hf-hub:nobody/nothing", "resnet18", "simulated"),
    *("local-dir:.", "http://x.invalid/a", "\ud800", "a\0b", "é", "e\u0301", "\ufeff", "字" * 40, "x" * 5000),
    *("\r", "a\rb", "a\nb", "\n", "os", "executed_module", "..", "nul\0", "𝕏", "~nobody/x"),
)
NUMBERS = (0, 1, -1, 2, 3, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.5, -0.5, 1e-320, 1e308, 1e39, 7.0)
VALUES: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": None}, {"a": {"b": {}}})


def odd_text(random: Random) -> str:
    """Return text that something may stumble over."""
    text = random.choice(STRINGS)
    return text if random.random() < 0.8 else text + random.choice(STRINGS)


def odd_value(random: Random) -> Any:
    """Return any JSON value."""
    kind = random.randrange(4)
    if kind == 0:
        return copy.deepcopy(random.choice(VALUES))
    if kind == 1:
        return random.choice(NUMBERS)
    if kind == 2:
        return odd_text(random)
    return random.choice(
        ([odd_text(random)], {odd_text(random): odd_text(random)}, [1, "a", None], [[1], [1, 2]])
    )


def odd_json(random: Random, value: Any, times: int | None = None) -> Any:
    """Return a JSON value in which one to three places are otherwise."""
    box = [copy.deepcopy(value)]
    for _ in range(times or random.choice((1, 1, 1, 2, 3))):
        places = list(_places(box))
        holder, key = random.choice(places)
        _change(random, holder, key)
        if not box:
            box.append(odd_value(random))
    return box[0]


def _places(value: Any, depth: int = 0) -> Any:
    items = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    for key, item in items[:50]:
        yield value, key
        if depth < 12:
            yield from _places(item, depth + 1)


def _change(random: Random, holder: Any, key: Any) -> None:
    what = random.randrange(10)
    if what == 0:
        del holder[key]
    elif what == 1 and isinstance(holder, dict):
        holder[odd_text(random)] = holder.pop(key)
    elif what == 2 and isinstance(holder, dict):
        holder[odd_text(random)] = odd_value(random)
    elif what == 3 and isinstance(holder, list):
        holder.extend(copy.deepcopy(holder[:3]))
    elif what == 4:
        holder[key] = [holder[key]]
    elif what == 5:
        holder[key] = str(holder[key])[:500]
    else:
        holder[key] = odd_value(random)


def json_bytes(random: Random, value: Any) -> bytes:
    """Return JSON as text, most of the time as JSON is."""
    kind = random.randrange(12)
    if kind == 0:
        return b"[" * 100_000
    if kind == 1:
        return json.dumps(value).replace("1", "NaN", 1).encode()
    if kind == 2:
        return b"\xef\xbb\xbf" + json.dumps(value).encode()
    if kind == 3:
        return json.dumps(value).encode("utf-16")
    if kind == 4:
        return odd_bytes(random, json.dumps(value).encode())
    return json.dumps(value).encode()


def odd_bytes(random: Random, data: bytes) -> bytes:
    """Return bytes of which some are otherwise."""
    kind = random.randrange(9)
    if not data or kind == 0:
        return random.choice(
            (b"", b"\0", b"\xff\xfe", b"\0" * 5000, b"PK\x03\x04", b"\x89HDF\r\n\x1a\n", b"{}", b"[]")
        )
    start = random.randrange(len(data))
    if kind == 1:
        return data[:start]
    if kind == 2:
        return data[:start] + data[random.randrange(len(data)) :]
    if kind == 3:
        return data + random.choice((b"\0" * 100, data, b"x"))
    changed = bytearray(data)
    if kind in (4, 5):
        for _ in range(random.choice((1, 1, 2, 8, 64))):
            changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
    elif kind in (6, 7):
        size = random.choice((4, 16, 64, 512, 4096))
        start -= start % size if random.random() < 0.5 else 0
        changed[start : start + size] = random.choice((b"\0", b"\0", b"\xff")) * len(
            changed[start : start + size]
        )
    else:
        size = random.choice((2, 8, 64))
        other = random.randrange(len(data))
        piece = changed[other : other + size]
        changed[start : start + len(piece)] = piece
    return bytes(changed)


def no_file(random: Random, path: Path) -> str:
    """Put something that is no file in the place of one; returns what."""
    if path.is_dir() and not path.is_symlink():
        import shutil

        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    what = random.choice(
        ("pipe", "zero", "loop", "folder", "dangling", "missing", "socket", "random", "full")
    )
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what == "socket":
        # An address has 107 bytes at most.
        place = os.open(path.parent, os.O_RDONLY)
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(f"/proc/self/fd/{place}/{path.name[:60]}")
        os.close(place)
    elif what != "missing":
        leads_to = {"zero": "/dev/zero", "random": "/dev/urandom", "full": "/dev/full"}.get(what)
        path.symlink_to(leads_to or (path.name if what == "loop" else "nowhere"))
    return what


def spoil(random: Random, path: Path) -> str:
    """Damage one file in one way or put something else there; returns what was done."""
    if random.random() < 0.15:
        return f"{path.name}: {no_file(random, path)}"
    path.write_bytes(odd_bytes(random, path.read_bytes()))
    return f"{path.name}: other bytes"


def spoil_json(random: Random, path: Path) -> str:
    """Change what a JSON file says, or its bytes."""
    if random.random() < 0.15:
        return spoil(random, path)
    value = odd_json(random, json.loads(path.read_bytes()))
    path.write_bytes(json_bytes(random, value))
    return f"{path.name}: {json.dumps(value)[:2000]}"
