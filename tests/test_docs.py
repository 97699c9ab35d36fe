"""What the pages say is what the code does."""

import argparse
import re
import shlex
from pathlib import Path

import h5py
import numpy as np
import pytest

from embedkit import verbs
from embedkit.files.rows import Rows
from embedkit.files.store import Views, write_features

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, *languages: str) -> list[str]:
    """The fenced blocks of a page in one of the languages; "" is a block that names none."""
    found: list[str] = []
    language = None
    for line in page.read_text(encoding="utf-8").splitlines(keepends=True):
        if line.startswith("```"):
            language = line.strip("`\n ") if language is None else None
            if language in languages:
                found.append("")
        elif language in languages:
            found[-1] += line
    return found


def commands() -> list[tuple[str, str]]:
    """Page and command line, of every `embedkit` command in a block of shell lines."""
    found = []
    for page in PAGES:
        for block in blocks(page, "", "sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                match = re.search(r"^(?:\$ )?(?:\.venv/bin/)?embedkit (.*)", line) or re.search(
                    r"^torchrun .* -m embedkit\.cli (.*)", line
                )
                if match:
                    found.append((page.name, match[1]))
    return found


def test_there_are_commands_to_check():
    assert len({page for page, _ in commands()}) >= 4
    assert len(commands()) > 20


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_on_a_page_has_options_that_exist(page, line):
    verb, *arguments = shlex.split(line, comments=True)
    parser = argparse.ArgumentParser(exit_on_error=False)
    verbs.target(verbs.VERBS[verb].command)(parser)
    parser.parse_args(arguments)


def test_the_five_lines_of_h5py_read_a_feature_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_features("features.h5", np.eye(3), Rows(["a", "b", "c"], labels=[0, 0, -1], class_names=("x",)))
    (code,) = blocks(ROOT / "docs" / "feature-file.md", "python")
    assert sum(map(bool, code.strip().splitlines())) == 5
    names = {}
    exec(code, names)
    np.testing.assert_array_equal(names["x"], np.eye(3))
    assert list(names["ids"]) == ["a", "b", "c"]
    assert names["labels"].tolist() == [0, 0, -1]
    assert names["provenance"] == {}


def test_the_specification_lists_what_a_full_file_holds(tmp_path):
    rows = Rows(
        ["a", "b"],
        labels=[0, 0],
        class_names=("x",),
        targets=[[1.0], [2.0]],
        target_names=("t",),
        split=["train", "test"],
        group=["g", "h"],
        coordinates=np.zeros((2, 2)),
    )
    path = write_features(tmp_path / "f.h5", np.eye(2), rows, views=Views(np.eye(2), np.eye(2), 2))
    text = (ROOT / "docs" / "feature-file.md").read_text(encoding="utf-8")
    datasets = re.findall(
        r"^\| `(\w+)` \| (?:always|optional|if|with)[^|]*\| (\([^)]*\)) \| (\w+)", text, flags=re.M
    )
    with h5py.File(path) as file:
        documented = {name for name, _, _ in datasets}
        assert documented - {"ok", "errors"} == set(file)
        sizes = {"(n,)": (2,), "(n, d)": (2, 2), "(n, t)": (2, 1), "(n, 2)": (2, 2), "(d, d)": (2, 2)}
        for name, shape, kind in datasets:
            if name in file:
                assert file[name].shape == sizes[shape], name
                found = "text" if h5py.check_string_dtype(file[name].dtype) else str(file[name].dtype)
                assert found == kind, name
        attributes = set(file.attrs).union(*(file[name].attrs for name in file))
    for attribute in attributes:
        assert re.search(rf"^\| `{attribute}` \| ", text, flags=re.M), attribute


def test_the_specification_lists_every_key_of_the_provenance(image_provenance):
    text = (ROOT / "docs" / "feature-file.md").read_text(encoding="utf-8")
    section = text.partition("## Provenance")[2].partition("## Versions")[0]
    documented = {
        name
        for cell in re.findall(r"^\| (`[^|]*`) \|", section, flags=re.M)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert documented == set(image_provenance)


@pytest.fixture
def image_provenance(tmp_path):
    from PIL import Image

    from embedkit.backbones.load import BackboneSpec
    from embedkit.extraction.extract import extract
    from embedkit.files.store import FeatureFile

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "images" / "a.png")
    extract(str(tmp_path / "images"), tmp_path / "f.h5", backbone=BackboneSpec("pixels:4"))
    with FeatureFile(tmp_path / "f.h5") as file:
        return file.provenance


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert not target or (page.parent / target).exists(), f"{page.name} names {target}"
