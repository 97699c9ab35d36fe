"""Scripts in benchmarks/ are called as pages and their own first lines say. None is run or imported here."""

import argparse
import ast
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = {path.stem: path for path in sorted((ROOT / "benchmarks").glob("*.py"))}
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
# What a parser takes, apart from the types: a usage line says FOLDER and D where a call has a path and a 64.
SHAPE = ("nargs", "action", "required", "dest")


def tree(script: str) -> ast.Module:
    return ast.parse(SCRIPTS[script].read_text(encoding="utf-8"))


def parser_of(script: str) -> argparse.ArgumentParser:
    """The parser that a script makes, read from its source."""
    parser = argparse.ArgumentParser(exit_on_error=False, allow_abbrev=False)
    for node in ast.walk(tree(script)):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", None) == "add_argument":
            shape = {one.arg: ast.literal_eval(one.value) for one in node.keywords if one.arg in SHAPE}
            parser.add_argument(*map(ast.literal_eval, node.args), **shape)
    return parser


def calls(text: str) -> list[tuple[str, str]]:
    """Script and arguments of each call: a line, or what stands between two backticks."""
    text = re.sub(r"\n\s+\[", " [", text)  # a usage line that goes on
    inline = re.findall(r"`[^`\n]*python benchmarks/(\w+)\.py([^`]*)`", text)
    lines = re.findall(r"^[^`\n]*python benchmarks/(\w+)\.py([^`\n]*)$", text, flags=re.M)
    # [--set ...] says that --set is given again; what else is in brackets may be left out, or goes on.
    return [(name, re.sub(r"\[--\S+ \.\.\.\]|\.\.\.|[][]", "", said)) for name, said in [*inline, *lines]]


def usage(script: str) -> list[tuple[str, str]]:
    return calls(ast.get_docstring(tree(script)) or "")


ON_PAGES = [
    (page.relative_to(ROOT).as_posix(), *call)
    for page in PAGES
    for call in calls(page.read_text(encoding="utf-8"))
]


def test_there_are_calls_to_check():
    assert len(ON_PAGES) >= 25
    assert len({script for _, script, _ in ON_PAGES}) >= 20


@pytest.mark.parametrize(("page", "script", "said"), ON_PAGES)
def test_a_call_on_a_page_has_options_that_exist(page, script, said):
    parser_of(script).parse_args(shlex.split(said, comments=True))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_says_how_it_is_called(script):
    own = [said for name, said in usage(script) if name == script]
    assert own
    for said in own:
        parser_of(script).parse_args(shlex.split(said, comments=True))


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_reads_no_option_that_it_does_not_have(script):
    there = {action.dest for action in parser_of(script)._actions}
    read = {
        node.attr
        for node in ast.walk(tree(script))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "args"
    }
    assert read <= there


def test_every_script_that_is_named_is_there():
    named = {
        (path.relative_to(ROOT).as_posix(), script)
        for folder in ("embedkit", "pretrain", "probes", "clustering", "reports", "tests", "docs")
        for ending in ("*.py", "*.md")
        for path in (ROOT / folder).rglob(ending)
        for script in re.findall(r"\bbenchmarks/(\w+)\.py", path.read_text(encoding="utf-8"))
    }
    assert len(named) >= 25
    assert {(path, script) for path, script in named if script not in SCRIPTS} == set()
