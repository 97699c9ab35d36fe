"""Density tree and clusterings side by side, from what runs wrote to what a browser selects."""

from itertools import pairwise, permutations, product
from xml.etree import ElementTree

import hdbscan
import numpy as np
import pytest
from browsing import WEBGL, Visit, launched
from report_world import page_data, section, unpack, write_clustering

from embedkit import cluster, report
from embedkit.files.rows import Rows
from embedkit.files.store import FeatureFile, write_features

N = 80


@pytest.fixture(scope="module")
def x():
    rng = np.random.default_rng(3)
    middles, widths = np.array([[0, 0, 0], [5, 0, 0], [30, 0, 0]]), (0.6, 0.9, 1.5)
    parts = [rng.normal(m, w, (N, 3)) for m, w in zip(middles, widths, strict=True)]
    return np.vstack([*parts, rng.uniform(-20, 50, (40, 3))]).astype(np.float32)


@pytest.fixture(scope="module")
def folder(x, tmp_path_factory):
    folder = tmp_path_factory.mktemp("clusterings")
    labels = np.minimum(np.arange(len(x)) // N, 2)
    rows = Rows(
        ids=np.array([f"r{i:03d}" for i in range(len(x))]), labels=labels, class_names=("a", "b", "c")
    )
    write_features(folder / "f.h5", x, rows)
    how = {"min_cluster_size": 12, "min_samples": 4, "prep": "none"}
    cluster(folder / "f.h5", method="hdbscan", output=folder / "runs", **how)
    with FeatureFile(folder / "f.h5") as file:
        mixed = (np.arange(len(x)) * 7 // 40) % 4
        write_clustering(folder / "runs", file, "k4.csv", mixed, k=4)
    return folder


@pytest.fixture(scope="module")
def html(folder):
    options = {"runs": folder / "runs", "projection": "pca", "thumbnails": False}
    return report(folder / "f.h5", output=folder / "o.html", **options).path


@pytest.fixture(scope="module")
def peer(x):
    """Return what the package itself makes of these rows."""
    return hdbscan.HDBSCAN(12, min_samples=4, algorithm="prims_kdtree").fit(x.astype(np.float64))


def rows_below(peer, node):
    tree, n = peer.condensed_tree_.to_numpy(), len(peer.labels_)
    found, inside = [], {node + n}
    for parent, child, _, _ in tree:  # parents stand before their children
        if parent in inside:
            found.append(int(child)) if child < n else inside.add(int(child))
    return sorted(found)


def test_the_page_has_the_tree_of_the_package(html, peer):
    (tree,) = section(page_data(html), "tree")
    m = len(tree["parent"])
    rows, node = unpack(tree["rows"]), unpack(tree["node"])
    assert tree["size"][0] == len(rows) == 3 * N + 40
    chosen = [number for number, name in enumerate(tree["name"]) if name]
    n = len(rows)
    assert sorted(chosen) == sorted(int(one) - n for one in peer.condensed_tree_._select_clusters())
    for number in range(m):
        inside = {number}
        for later in range(number + 1, m):
            if tree["parent"][later] in inside:
                inside.add(later)
        assert sorted(rows[np.isin(node, list(inside))].tolist()) == rows_below(peer, number)
    density = unpack(tree["density"]) / 65535 * tree["top"]
    assert (np.diff(density) <= 0).all()
    truth = {int(child): value for _, child, value, size in peer.condensed_tree_.to_numpy() if size == 1}
    np.testing.assert_allclose(density, [truth[row] for row in rows.tolist()], atol=tree["top"] / 60_000)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda text: text.replace("\n1,0,", "\n1,5,"), "not numbered from 0, each after its parent"),
        (lambda text: "\n".join(text.splitlines()[:2]) + "\n", "1 groups, and assignments to others"),
        (lambda text: text.replace("\n1,0,", "\n1,0,-"), "a density below 0"),
        (lambda text: "id,cluster\n", "has no column"),
    ],
)
def test_a_broken_tree_is_said_and_the_clusters_are_there(folder, tmp_path, broken, says):
    (path,) = (folder / "runs").glob("*-tree.csv")
    whole = path.read_text()
    try:
        path.write_text(broken(whole))
        options = {"runs": folder / "runs", "projection": "pca", "thumbnails": False}
        data = page_data(report(folder / "f.h5", output=tmp_path / "o.html", **options).path)
    finally:
        path.write_text(whole)
    assert any("its tree is not shown" in note and says in note for note in data["notes"])
    assert {one["name"] for one in data["sections"]} >= {"clusters", "alluvial"}
    assert "tree" not in {one["name"] for one in data["sections"]}


@pytest.fixture(scope="module")
def visit(html):
    with launched(*WEBGL) as browser:
        visit = Visit(browser, html)
        yield visit
        visit.close()


def selected(visit):
    return sorted(visit.page.evaluate("() => [...embedkit.state.set]"))


@pytest.mark.browser
def test_a_group_of_the_tree_is_selected_by_click_and_by_keys(visit, peer):
    # It is drawn when one comes near it.
    visit.page.locator("#tree").scroll_into_view_if_needed()
    visit.page.wait_for_selector("#tree [role=treeitem]")
    nodes = visit.page.locator("#tree [role=treeitem]")
    first = visit.page.locator("#tree [aria-selected=true]")
    assert first.count() == 1
    # The root is a wide bar at the top; its left upper corner is its own.
    visit.page.locator("#tree .density-tree").scroll_into_view_if_needed()
    root = visit.page.locator("#tree [data-node='0']")
    root.click(position={"x": root.bounding_box()["width"] / 2, "y": 2})
    assert selected(visit) == list(range(3 * N + 40))
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    group = int(visit.page.evaluate("document.activeElement.dataset.node"))
    assert group > 0
    assert selected(visit) == rows_below(peer, group)
    shown = visit.page.locator("#tree .many-grid .tile").count()
    assert f"{len(selected(visit))} images" in visit.page.locator("#tree .tree-head").inner_text()
    assert shown == min(len(selected(visit)), 96) or shown == len(selected(visit))
    count = nodes.count()
    visit.page.get_by_role("button", name="draw this group alone").click()
    assert visit.page.locator("#tree [role=treeitem]").count() < count
    visit.page.get_by_role("button", name="draw the whole tree").click()
    assert visit.page.locator("#tree [role=treeitem]").count() == count
    clusters = [int(one) - len(peer.labels_) for one in peer.condensed_tree_._select_clusters()]
    marked = visit.page.locator("#tree .chosen").evaluate_all(
        "all => all.map((one) => Number(one.dataset.node))"
    )
    assert sorted(marked) == sorted(clusters)
    with visit.page.expect_download() as told:
        visit.page.locator("#tree .saves button", has_text="SVG").click()
    saved = ElementTree.parse(told.value.path()).getroot()
    assert len(saved.findall("{http://www.w3.org/2000/svg}path")) == count


def crossing(orders, tables):
    """Count pairs of images whose lines cross, by looking at every two cells."""
    total = 0
    for (above, below), table in zip(pairwise(orders), tables, strict=True):
        cells = [(i, j, table[a, b]) for i, a in enumerate(above) for j, b in enumerate(below)]
        total += sum(p * q for i, j, p in cells for k, m, q in cells if i < k and j > m)
    return total


@pytest.mark.browser
def test_bands_are_the_shared_images_in_the_order_of_fewest_crossings(visit, peer):
    visit.page.locator("#alluvial").scroll_into_view_if_needed()
    visit.page.wait_for_selector("#alluvial .bar")
    data = page_data(visit.path)
    about = section(data, "alluvial")
    codes = [
        unpack(next(one["values"] for one in data["columns"] if one["key"] == key)).astype(int)
        for key in about["keys"]
    ]
    bars = visit.page.locator("#alluvial .bar").evaluate_all(
        """bars => bars.map((one) => [
          Number(one.dataset.column), Number(one.dataset.code), one.y.baseVal.value, one.height.baseVal.value,
        ])"""
    )
    orders = [
        [int(code) for at, code, *_ in sorted(bars, key=lambda bar: bar[2]) if at == column]
        for column in range(3)
    ]
    assert [sorted(order) for order in orders] == [np.unique(one).tolist() for one in codes]
    heights = {(int(at), int(code)): height for at, code, _, height in bars}
    unit = heights[0, 0] / (codes[0] == 0).sum()
    for (at, code), height in heights.items():
        assert height == pytest.approx(unit * (codes[at] == code).sum(), rel=1e-3)
    tables = [
        {(a, b): int(((one == a) & (other == b)).sum()) for a, b in product(np.unique(one), np.unique(other))}
        for one, other in pairwise(codes)
    ]
    best = min(
        crossing(some, tables) for some in product(*(list(permutations(sorted(order))) for order in orders))
    )
    assert crossing(orders, tables) == best
    band = visit.page.locator("#alluvial .band").nth(1)
    gap, a, b = (int(band.get_attribute(f"data-{name}")) for name in ("gap", "from", "to"))
    band.dispatch_event("click")
    assert selected(visit) == np.flatnonzero((codes[gap] == a) & (codes[gap + 1] == b)).tolist()
    # By keys from a band to the group on its right.
    visit.page.keyboard.press("ArrowRight")
    visit.page.keyboard.press("Enter")
    bar = visit.page.evaluate("() => ({ ...document.activeElement.dataset })")
    assert selected(visit) == np.flatnonzero(codes[int(bar["column"])] == int(bar["code"])).tolist()
    # A column that is taken away leaves the others side by side, and comes back last.
    visit.page.locator("#alluvial .chips button").nth(0).click()
    assert visit.page.locator("#alluvial .agree li").count() == 1
    visit.page.locator("#alluvial .chips button").nth(0).click()
    assert visit.page.locator("#alluvial .agree li").last.inner_text().split(":")[0].endswith("the labels")


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 800, 1440])
def test_nothing_is_wider_than_the_window(visit, width):
    visit.page.set_viewport_size({"width": width, "height": 900})
    for name in ("tree", "alluvial"):
        visit.page.locator(f"#{name}").scroll_into_view_if_needed()
        visit.page.wait_for_selector(f"#{name} svg > *")
    visit.page.wait_for_timeout(300)
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    assert visit.page.locator("#tree .density-tree").bounding_box()["width"] <= width
