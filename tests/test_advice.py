"""What messages advise exists: every flag and every verb in the library's own words."""

import argparse
import ast
import re
from pathlib import Path

import pytest

from embedkit.verbs import VERBS, target

ROOT = Path(__file__).parents[1]
PACKAGES = ("embedkit", "pretrain", "probes", "clustering", "reports")
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))
# Of other programs.
OTHERS = {
    "--force-reinstall",
    "--standalone",
    "--nproc_per_node",
    "--nproc-per-node",
    "--upgrade",
    "--editable",
    "--nnodes",
    "--max-restarts",
    "--head",
    "--sparse",
    "--x",
    "--y",
    "--text",
    "--text_column",
    "--path",
    "--logdir",
}
COMMAND = re.compile(r"`embedkit ([^`]*)`")


def parser(verb):
    made = argparse.ArgumentParser(add_help=True, allow_abbrev=False)
    target(VERBS[verb].command)(made)
    return made


FLAGS = {verb: set(parser(verb)._option_string_actions) for verb in VERBS}
KNOWN = set().union(*FLAGS.values()) | {"--version"} | OTHERS


def texts(file):
    """Line and text of every string of a file; what a format puts in is a word."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            parts = [str(one.value) if isinstance(one, ast.Constant) else "WORD" for one in node.values]
            yield node.lineno, "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_flag_that_is_named_exists(file):
    for line, text in texts(file):
        for flag in re.findall(r"(?<![\w`{-])(?<!var\()--[a-z][a-z0-9-]+\b(?!-?WORD)", text):
            assert flag.rstrip("-") in KNOWN, f"{file}:{line}: {flag}"


@pytest.mark.parametrize("file", SOURCES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_command_that_is_named_has_those_flags(file):
    for line, text in texts(file):
        for command in COMMAND.findall(text):
            verb, *words = command.split()
            if verb in ("VERB", "WORD", "--help"):
                continue
            assert verb in VERBS, f"{file}:{line}: embedkit {verb}"
            for word in words:
                if re.fullmatch(r"--?[a-z][a-z0-9-]*", word):
                    assert word in FLAGS[verb], f"{file}:{line}: embedkit {verb} {word}"


# Verbs that read images: what is advised of one that can't be read has to exist in each. Those that can
# leave images out say so themselves.
READERS = [verb for verb, flags in FLAGS.items() if "--root" in flags]
OF_IMAGES = [file for file in SOURCES if file.parent.name in ("images", "datasets")]


@pytest.mark.parametrize("file", OF_IMAGES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_an_unreadable_image_advises_exists_in_every_verb_that_reads_images(file):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)):
            continue
        if getattr(node.exc.func, "id", "") != "ImageError":
            continue
        said = "".join(
            one.value
            for one in ast.walk(node)
            if isinstance(one, ast.Constant) and isinstance(one.value, str)
        )
        for flag in re.findall(r"(?<![\w`{-])--[a-z][a-z0-9-]+\b", said):
            missing = [verb for verb in READERS if flag not in FLAGS[verb]]
            assert not missing, f"{file}:{node.lineno}: {flag} is not in {', '.join(missing)}"
