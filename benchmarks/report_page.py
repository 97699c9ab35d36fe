"""How large the report's page is, how soon the map is seen, and how smoothly it pans, in a headless browser.

`pan fps` is how often the browser shows the map moved, `drawn` how often its points are drawn anew: a map
that takes long to draw slides in between.

    python benchmarks/report_page.py FOLDER [--n 17736]

FOLDER holds images; their pictures are repeated until there are n. The places are those of 20 Gaussians, as
only the page is measured here. A software renderer draws: `--use-angle=swiftshader`. Needs Debian's chromium
and playwright.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from embedkit.datasets.load import load_dataset
from embedkit.files.rows import Rows
from embedkit.images.decode import decode
from reports.map.columns import Category, Number
from reports.map.content import Page
from reports.map.layout import Map
from reports.map.neighbours import K, Neighbours
from reports.map.page import render
from reports.map.sheets import Sheets, read_sheets, thinning_order

FRAMES = 90
# A drag in circles, a step a frame; returns the time of every frame, and how often the map was drawn anew.
DRAG = """frames => new Promise(done => {
  const draw = embedkit.points.frame;
  let drawn = 0;
  embedkit.points.frame = () => { drawn++; draw(); };
  const canvas = document.getElementById("points"), frame = canvas.getBoundingClientRect(), times = [];
  const at = i => ({bubbles: true, cancelable: true, view: window, button: 0, buttons: 1,
    clientX: frame.left + frame.width / 2 + 120 * Math.sin(i / 12),
    clientY: frame.top + frame.height / 2 + 120 * (Math.cos(i / 12) - 1)});
  canvas.dispatchEvent(new MouseEvent("mouseenter", at(0)));
  canvas.dispatchEvent(new MouseEvent("mousemove", at(0)));
  canvas.dispatchEvent(new MouseEvent("mousedown", at(0)));
  let i = 0;
  const step = () => {
    times.push(performance.now());
    if (++i > frames) {
      window.dispatchEvent(new MouseEvent("mouseup", at(i)));
      embedkit.points.frame = draw;
      done([times, drawn]);
      return;
    }
    canvas.dispatchEvent(new MouseEvent("mousemove", at(i)));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


def page_of(n: int, sheets: Sheets | None = None) -> Page:
    """A page of n points of ten classes, with two numbers for each and 15 neighbours."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, 20, n)
    xy = (rng.normal(size=(20, 2))[group] * 4 + rng.normal(size=(n, 2))).astype(np.float32)
    names = tuple(f"class {i}" for i in range(10))
    near = Neighbours(rng.integers(0, n, (n, K)), rng.random((n, K)).astype(np.float32))
    if sheets is not None:
        rows = thinning_order(xy)
        sheets = dataclasses.replace(
            sheets,
            place=np.argsort(rows).astype(np.int32),
            width=np.full(n, sheets.size, np.uint16),
            height=np.full(n, sheets.size, np.uint16),
        )
    ids = np.array([f"{587722952767439450 + 7919 * i}.jpg" for i in range(n)])
    columns: list[Category | Number] = [
        Category("label", "label", "Annotations", group % 10, names, "no label"),
        Number("a", "a number", "Targets", rng.normal(size=n).astype(np.float32)),
        Number("b", "another", "Targets", rng.normal(size=n).astype(np.float32)),
    ]
    return Page(
        title="benchmark",
        file_stem="benchmark",
        facts=[f"{n:,} images"],
        about=[],
        provenance={},
        notes=[],
        ids=ids,
        rows=Rows(ids=ids),
        known=columns,
        caption="",
        map=Map(xy, xy, 1.0, "umap", {"metric": "cosine", "n_neighbors": 15, "min_dist": 0.1, "seed": 0}),
        columns=columns,
        color="label",
        neighbours=near,
        near="cosine",
        sheets=sheets,
    )


def repeated(folder: Path, n: int, size: int) -> tuple[Sheets, float, float]:
    """Sheets of n pictures, and the seconds for an image of reading them and of decoding alone."""
    dataset = load_dataset(str(folder))
    ids, m = dataset.rows.ids.tolist(), len(dataset)
    start = time.perf_counter()
    sheets = read_sheets(dataset, ids, list(range(m)), size=size)
    reading = (time.perf_counter() - start) / m
    from concurrent.futures import ThreadPoolExecutor

    start = time.perf_counter()
    with ThreadPoolExecutor(min(8, (os.cpu_count() or 1) + 1)) as pool:
        for _ in pool.map(lambda i: decode(dataset.read(i), dataset.where(i)) is None, range(m)):
            pass
    decoding = (time.perf_counter() - start) / m
    whole = sheets.sheets[:-1] or sheets.sheets  # only full ones, to be cut anew
    n_sheets = -(-n // 256)
    many = tuple(whole[i % len(whole)] for i in range(n_sheets))
    return dataclasses.replace(sheets, sheets=many), reading, decoding


def visit(browser: Any, path: Path) -> dict[str, float]:
    """Seconds until the map is seen, and frames a second with everything and with the points alone."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.set_default_timeout(300_000)
    start = time.perf_counter()
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]")
    found = {"visible s": time.perf_counter() - start}
    page.wait_for_timeout(1500)
    for what in ("pan fps", "pan fps, points alone"):
        if "alone" in what:
            page.evaluate(
                "Object.keys(embedkit.state.layers).forEach(k => { embedkit.state.layers[k] = false; })"
            )
            page.evaluate("embedkit.state.tell('layers')")
            page.wait_for_timeout(500)
        times, drawn = page.evaluate(DRAG, FRAMES)
        found[what] = (len(times) - 1) / (times[-1] - times[0]) * 1000
        found[what.replace("pan fps", "drawn")] = drawn / (times[-1] - times[0]) * 1000
        page.wait_for_timeout(300)
    page.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=17_736, help="images of the page with pictures")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--sizes", type=int, nargs="*", default=[5_000, 20_000, 100_000])
    args = parser.parse_args()
    sheets, reading, decoding = repeated(args.folder, args.n, 64)
    print(
        f"reading onto sheets {1e3 * reading:.2f} ms an image, decoding alone {1e3 * decoding:.2f} ms: ",
        end="",
    )
    print(f"{reading / decoding:.2f} times; load {os.getloadavg()[0]:.1f}")
    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as play:
        browser = play.chromium.launch(executable_path=args.browser, args=flags)
        for n, kept in [(args.n, sheets), *((size, None) for size in args.sizes)]:
            path = Path(folder) / "page.html"
            path.write_text(render(page_of(n, kept)), encoding="utf-8")
            found = visit(browser, path)
            words = ", ".join(f"{name} {value:.1f}" for name, value in found.items())
            pictures = "64 px pictures" if kept is not None else "no pictures"
            size, load = path.stat().st_size / 1e6, os.getloadavg()[0]
            print(f"{n:>9,} points, {pictures}: {size:.1f} MB, {words}; load {load:.1f}", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
