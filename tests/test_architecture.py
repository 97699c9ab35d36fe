"""What the code must not say; import-linter holds which room imports which."""

import ast
import re
import tomllib
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("embedkit", "pretrain", "probes", "clustering", "reports")
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_library_code_never_names_the_developers_data(package):
    for file in (ROOT / package).rglob("*"):
        if file.is_file() and file.suffix in (".py", ".js", ".html", ".css"):
            for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
                assert not re.search(r"\bshared/|EMBEDKIT_SHARED", line), f"{file}:{number}: {line.strip()}"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_nothing_is_left_undone(file):
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        assert not re.search(r"\b(TODO|FIXME|XXX|NotImplementedError)\b", line), f"{file}:{number}"
    assert file.stem not in ("utils", "util", "helpers", "common", "manager", "misc")


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_paths_are_resolved_where_a_circle_of_links_does_not_raise(file):
    """`Path.resolve` does before Python 3.13; `embedkit.files.regular.resolved` does not."""
    if file.relative_to(ROOT) != Path("embedkit/verbs.py"):
        assert ".resolve(" not in file.read_text(encoding="utf-8").replace("`Path.resolve`", "")


def test_every_package_is_in_the_wheel_with_its_types():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    found = {".".join(file.parent.relative_to(ROOT).parts) for file in SOURCES if file.name == "__init__.py"}
    data = {"embedkit.backbones.weights", "embedkit.datasets.sample"}  # no code, only files
    assert set(config["packages"]) == found | data
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()
        assert "py.typed" in config["package-data"][package]


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_and_functions_are_of_a_size_to_read(file):
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450
    for one in ast.walk(ast.parse(text)):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert one.end_lineno - one.lineno < 80, one.name


def test_no_two_test_files_have_one_name():
    # pytest imports each by its name alone, and leaves out the second.
    names = [path.name for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    assert [name for name in names if names.count(name) > 1] == []


def test_the_base_package_has_few_names_at_its_top():
    names = {path.name for path in (ROOT / "embedkit").iterdir()} - {"__pycache__"}
    assert len(names) <= 20, sorted(names)


def test_no_file_imports_one_that_imports_it():
    graph = grimp.build_graph(*PACKAGES)
    ties = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    while leaves := {module for module, others in ties.items() if not others & set(ties)}:
        ties = {module: others for module, others in ties.items() if module not in leaves}
    assert not ties, sorted(ties)
