"""What the pages say is what the code does."""

import argparse
import ast
import doctest
import importlib.util
import inspect
import re
import shlex
import tokenize
from dataclasses import fields
from pathlib import Path

import h5py
import numpy as np
import pytest

import embedkit
from embedkit import verbs
from embedkit.cli import main
from embedkit.files.results import Result
from embedkit.files.rows import Rows
from embedkit.files.store import Views, write_features

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md"), *(ROOT / "examples").glob("*.md")])
FOR_READERS = sorted([DOCS / "first-steps.md", *(DOCS / "how-to").glob("*.md")])
SPECIFICATION = DOCS / "reference" / "feature-file.md"


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


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
                    found.append((name(page), match[1]))
    return found


def test_there_are_commands_to_check():
    assert len({page for page, _ in commands()}) >= 20
    assert len(commands()) > 100


@pytest.mark.parametrize(("page", "line"), commands())
def test_every_command_on_a_page_has_options_that_exist(page, line):
    verb, *arguments = shlex.split(line, comments=True)
    parser = argparse.ArgumentParser(exit_on_error=False)
    verbs.target(verbs.VERBS[verb].command)(parser)
    parser.parse_args(arguments)


def test_the_five_lines_of_h5py_read_a_feature_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_features("features.h5", np.eye(3), Rows(["a", "b", "c"], labels=[0, 0, -1], class_names=("x",)))
    (code,) = blocks(SPECIFICATION, "python")
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
        asked=np.ones((2, 1)),
    )
    path = write_features(tmp_path / "f.h5", np.eye(2), rows, views=Views(np.eye(2), np.eye(2), 2))
    text = SPECIFICATION.read_text(encoding="utf-8")
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
    text = SPECIFICATION.read_text(encoding="utf-8")
    section = text.partition("## Provenance")[2].partition("## Versions")[0]
    documented = {
        name
        for cell in re.findall(r"^\| (`[^|]*`) \|", section, flags=re.M)
        for name in re.findall(r"`(\w+)`", cell)
    }
    assert documented == set(image_provenance)


def test_the_results_page_lists_every_field_of_a_line():
    text = (DOCS / "reference" / "results-file.md").read_text(encoding="utf-8")
    table = text.partition("| field | holds |")[2].partition("\n\n")[0]
    documented = re.findall(r"^\| `(\w+)` \|", table, flags=re.M)
    assert documented == ["schema", *(one.name for one in fields(Result))]


@pytest.fixture
def image_provenance(tmp_path):
    from PIL import Image

    from embedkit.backbones.options import BackboneSpec
    from embedkit.extraction.extract import extract
    from embedkit.files.store import FeatureFile

    (tmp_path / "images").mkdir()
    Image.new("RGB", (8, 8), "grey").save(tmp_path / "images" / "a.png")
    extract(str(tmp_path / "images"), tmp_path / "f.h5", backbone=BackboneSpec("pixels:4"))
    with FeatureFile(tmp_path / "f.h5") as file:
        return file.provenance


def links(page: Path) -> list[tuple[str, str]]:
    """File and anchor of every link and picture of a page that leads to another file here."""
    return re.findall(
        r"\]\((?!https?:)([^)#\s]*)(?:#([^)]*))?\)", re.sub(r"```.*?```", "", page.read_text(), flags=re.S)
    )


def anchors(page: Path) -> set[str]:
    """The anchors that a page's headings have, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)", page.read_text(encoding="utf-8"), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page):
    for target, anchor in links(page):
        place = (page.parent / target) if target else page
        assert place.exists(), f"{name(page)} names {target}"
        if anchor and place.suffix == ".md":
            assert anchor in anchors(place), f"{name(page)} names {target}#{anchor}"


def test_every_page_and_picture_can_be_reached_from_the_index():
    index = {
        (page.parent / target).resolve()
        for page in (ROOT / "README.md", DOCS / "README.md")
        for target, _ in links(page)
    }
    missing = [name(page) for page in DOCS.rglob("*.md") if page.resolve() not in index]
    assert missing == []
    shown = {(page.parent / target).resolve() for page in PAGES for target, _ in links(page)}
    assert [one.name for one in (DOCS / "pictures").iterdir() if one.resolve() not in shown] == []


def paragraphs(page: Path) -> list[str]:
    """What is read as running text: paragraphs and list items, one string each, without code and tables."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    lines = ["" if line.startswith(("#", "|", "!")) else line for line in text.splitlines()]
    pieces = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", "\n".join(lines))
    return [" ".join(piece.split()) for piece in pieces if piece.strip()]


@pytest.mark.parametrize("page", FOR_READERS, ids=name)
def test_a_page_for_readers_has_sentences_of_ordinary_length(page):
    for piece in paragraphs(page):
        is_item = re.match(r"(?:[-*]|\d+\.) ", piece)
        assert not is_item or len(piece.split()) <= 80, piece
        for sentence in re.split(r"(?<=[.?!])\s", piece):
            assert len(sentence.split()) <= 60, sentence


@pytest.mark.parametrize("page", FOR_READERS, ids=name)
def test_a_page_for_readers_has_a_command_or_code(page):
    assert blocks(page, "", "sh", "python")


def test_measured_tables_stand_on_the_pages_of_results_alone():
    for page in FOR_READERS:
        rows = re.findall(
            r"^\|.*\b0\.\d\d\d\b", re.sub(r"```.*?```", "", page.read_text(), flags=re.S), flags=re.M
        )
        assert rows == [], name(page)


# Released flags, steps and keys, and the parameters of scikit-learn and UMAP, keep the American word.
AMERICAN = re.compile(
    r"neighbor-whiten|NeighborWhiten|n[-_]neighbors|--neighbors|neighbors=|neighbor_agreement|sklearn\.neighbors"
    r"|\w+\.neighbors|NearestNeighbors|['\"]neighbors['\"]"
)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name)
def test_pages_have_one_spelling(page):
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.S)
    assert re.findall(r"\b\w*(?:neighbor|color)\w*", text, flags=re.I) == []


def test_comments_and_messages_have_one_spelling():
    words = (tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING))
    for folder in ("embedkit", "clustering", "probes", "reports", "pretrain", "benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            with path.open("rb") as stream:
                for token in tokenize.tokenize(stream.readline):
                    said = AMERICAN.sub("", token.string) if token.type in words else ""
                    said = re.sub(r"(?m)^\s*neighbors$", "", said)  # a parameter's line in a docstring
                    assert not re.search(r"(?i)\bneighbor", said), f"{name(path)}:{token.start[0]}"


def script(stem):
    """A script of docs/ as a module."""
    specification = importlib.util.spec_from_file_location(stem, DOCS / f"{stem}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_stub_of_the_face_is_what_it_has():
    write_stub = script("write_stub")
    written = write_stub.STUB.read_text(encoding="utf-8")
    assert written == write_stub.stub(), "embedkit/__init__.pyi is behind: run `make docs`"
    functions = {one.name: one for one in ast.parse(written).body if isinstance(one, ast.FunctionDef)}
    assert set(functions) <= set(embedkit.__all__)
    for function in functions.values():
        arguments = [one.arg for one in (*function.args.args, *function.args.kwonlyargs)]
        assert arguments == list(inspect.signature(getattr(embedkit, function.name)).parameters)


def test_the_pages_made_of_the_code_are_what_it_has():
    write_pages = script("write_pages")
    for page, text in write_pages.PAGES.items():
        written = (DOCS / page).read_text(encoding="utf-8")
        assert written == text(), f"docs/{page} is behind: run `make docs`, which is docs/write_pages.py"


def test_every_path_of_the_architecture_is_in_the_tree():
    section = (DOCS / "architecture.md").read_text(encoding="utf-8").partition("## Where is X decided?")[2]
    rows = re.findall(r"^\| (.*\?) \| (.*) \|$", section, flags=re.M)
    assert len(rows) >= 20
    for question, answer in rows:
        paths = re.findall(r"`([^`]+)`", answer)
        assert paths, question
        for path in paths:
            assert (ROOT / path).exists(), f"{question} {path}"


@pytest.mark.parametrize(
    "page",
    [
        "how-to/use-my-own-data.md",
        "how-to/choose-the-number-of-clusters.md",
        pytest.param("how-to/work-in-python-and-notebooks.md", marks=pytest.mark.slow),
    ],
)
def test_the_python_of_a_page_runs(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in blocks(DOCS / page, "python"):
        exec(compile(code, page, "exec"), names)


@pytest.mark.slow
def test_the_examples_of_the_python_page_print_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code = "\n".join(blocks(DOCS / "reference" / "python.md", "pycon"))
    examples = doctest.DocTestParser().get_doctest(code, {}, "python.md", None, 0)
    assert len(re.findall(r"^>>> from .* import ", code, flags=re.M)) >= 20
    assert doctest.DocTestRunner().run(examples).failed == 0


@pytest.mark.slow
def test_the_first_steps_can_be_followed(tmp_path, monkeypatch, capsys):
    """Every command of the page, in order, in an empty folder, on the images that its own code draws."""
    monkeypatch.chdir(tmp_path)
    page = DOCS / "first-steps.md"
    (code,) = blocks(page, "python")
    exec(compile(code, "draw.py", "exec"), {})
    done = []
    for block in blocks(page, ""):
        for line in block.splitlines():
            if line.startswith("embedkit ") and not line.startswith("embedkit doctor"):
                done.append(shlex.split(line, comments=True)[1:])
                assert main(done[-1]) == 0, f"{line}\n{capsys.readouterr().err}"
    verbs = "datasets extract probe cluster report probe probe probe"
    assert [words[0] for words in done] == verbs.split()
    assert (tmp_path / "runs" / "features.html").exists()
    assert len((tmp_path / "predictions.csv").read_text().splitlines()) == 501
