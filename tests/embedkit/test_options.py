"""One declaration, from which flags, keywords, TOML keys and commands come."""

import argparse
import inspect
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from embedkit.errors import UsageError
from embedkit.options import (
    add_flags,
    as_words,
    asked,
    check,
    device_option,
    from_flags,
    from_mapping,
    keywords,
    option,
    output_option,
    seed_option,
)


@dataclass(frozen=True)
class Plan:
    k: int | str | None = option(None, "clusters", least=1, words=("auto",), unset="as many as classes")
    share: float = option(0.5, "of the rows", least=0, below=1)
    kind: str = option("round", "which shape", choices=("round", "square"))
    sizes: tuple[int, ...] = option((), "widths to choose from", least=1)
    mean: tuple[float, float, float] | None = option(None, "of a pixel", metavar="R G B")
    share_of: tuple[int, int] | None = option(None, "of the work", metavar="I/N", separator="/", least=0)
    columns: tuple[str, ...] = option((), "by name", metavar="A,B,...", separator=",")
    reports: bool = option(True, "make no reports")
    deep: bool = option(False, "look deeper")
    seed: int = seed_option()
    output: Path = output_option(Path("runs"), "where it goes")
    where: str = device_option()
    not_an_option: int = 3

    def __post_init__(self):
        check(self)


def parse(*words):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_flags(parser, Plan)
    return from_flags(Plan, parser.parse_args(list(words)))


def test_nothing_given_is_the_defaults():
    assert parse() == Plan()
    assert asked(parse()) == []
    assert as_words(Plan()) == []


EVERYTHING = (
    "-k auto --share 0.25 --kind square --sizes 3 4 --mean 1 2 3.5 --share-of 0/8 --columns a,b "
    "--no-reports --deep --seed 7 -o out"
)


def test_flags_are_read_as_their_types():
    found = parse(*EVERYTHING.split())
    words = ("auto", 0.25, "square", (3, 4), (1.0, 2.0, 3.5), (0, 8), ("a", "b"))
    assert found == Plan(*words, False, True, 7, Path("out"))
    assert parse("-k", "3", "-o", "x").k == 3


def test_a_flag_that_is_given_twice_adds_to_what_it_named_first():
    found = parse("--sizes", "3", "4", "--sizes", "5", "-k", "2", "-k", "3")
    assert (found.sizes, found.k) == ((3, 4, 5), 3)
    assert parse().sizes == ()


def test_the_words_of_options_give_the_options_again():
    found = parse(*EVERYTHING.split())
    assert as_words(found) == EVERYTHING.split()
    assert parse(*as_words(found)) == found


def test_a_word_that_begins_with_a_dash_is_told_from_a_flag():
    found = Plan(columns=("-a", "b"), output=Path("-out"))
    assert as_words(found) == ["--columns=-a,b", "-o-out"]
    assert parse(*as_words(found)) == found


def test_a_table_says_the_same_as_the_flags():
    table = {
        "k": "auto",
        "share": 0.25,
        "kind": "square",
        "sizes": [3, 4],
        "mean": [1, 2, 3.5],
        "share_of": "0/8",
        "columns": ["a", "b"],
        "reports": False,
        "deep": True,
        "seed": 7,
        "output": "out",
    }
    assert from_mapping(Plan, table, "[plan]") == parse(*EVERYTHING.split())
    assert from_mapping(Plan, {"sizes": 3}, "[plan]").sizes == (3,)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kin": "round"}, r"\[plan\] knows no 'kin'. Did you mean 'kind'\?"),
        ({"not_an_option": 1}, "knows no 'not_an_option'"),
        ({"k": "many"}, "k = 'many': give an integer of at least 1, or auto"),
        ({"k": 1.5}, "k = 1.5: give an integer"),
        ({"k": True}, "k = True: give an integer"),
        ({"k": [1]}, "not a list"),
        ({"deep": 1}, "deep = 1: give true or false"),
        ({"share": 1}, "--share 1: give a number of at least 0 and below 1"),
        ({"kind": "rund"}, "--kind rund: unknown. Did you mean 'round'"),
        ({"mean": [1, 2]}, "mean = .1, 2.: give 3 values"),
        ({"mean": 1}, "mean = 1: give 3 values"),
        ({"share_of": 8}, "share_of = 8: give 2 values"),
        ({"seed": 2**32}, "--seed 4294967296: give an integer of at least 0 and of at most 4294967295"),
        ({"seed": None}, "seed = None: give an integer of at least 0"),
        ({"output": None}, "output = None: give a path"),
        ({"deep": None}, "deep = None: give true or false"),
        ({"sizes": None}, "sizes = None: give an integer of at least 1"),
        ({"sizes": [None]}, "sizes = None: give an integer of at least 1"),
        ({"share_of": "0/8/2"}, "share_of = '0/8/2': give I/N"),
        ({"share_of": [0, -1]}, "--share-of -1: give I/N"),
        ({"columns": "a,,b"}, "columns = 'a,,b': give A,B,..."),
        ({"where": "toaster"}, "where = 'toaster': give auto, cpu, cuda, cuda:N or mps"),
        ({"sizes": [1, 0]}, "--sizes 0: give an integer of at least 1"),
    ],
)
def test_a_table_that_is_wrong_is_refused_by_name(table, message):
    with pytest.raises(UsageError, match=message):
        from_mapping(Plan, table, "[plan]")


@pytest.mark.parametrize("words", ["-k x", "--share x", "--share-of 3", "--where x", "--kind x", "--mean 1"])
def test_a_flag_that_is_wrong_is_refused(words):
    with pytest.raises((argparse.ArgumentError, SystemExit)):
        parse(*words.split())


def test_the_help_says_meaning_and_default():
    parser = argparse.ArgumentParser()
    add_flags(parser, Plan)
    text = " ".join(parser.format_help().split())
    assert "-k K clusters (default: as many as classes)" in text
    assert "--share SHARE of the rows (default: 0.5)" in text
    assert "--mean R G B of a pixel" in text
    assert "seed of everything that is random (default: 0)" in text


def test_numbers_of_numpy_are_numbers():
    table = {
        "k": np.int64(3),
        "share": np.float32(0.25),
        "sizes": [np.uint8(3)],
        "mean": (np.float64(1),) * 3,
    }
    found = from_mapping(Plan, table, "[plan]")
    assert found == Plan(3, 0.25, sizes=(3,), mean=(1.0,) * 3)
    assert [type(value) for value in (found.k, found.share, *found.sizes)] == [int, float, int]
    with pytest.raises(UsageError, match=r"k = .*2\.5.*: give an integer"):
        from_mapping(Plan, {"k": np.float32(2.5)}, "[plan]")


def test_a_function_of_options_becomes_one_of_keywords():
    def run(what, plan):
        """Run it."""
        return what, plan

    call = keywords(run, Plan)
    assert call("x", k=3, sizes=4) == ("x", Plan(3, sizes=(4,)))
    assert call(what="x") == ("x", Plan())
    assert list(inspect.signature(call).parameters)[:3] == ["what", "k", "share"]
    assert "not_an_option" not in inspect.signature(call).parameters
    assert call.__doc__.startswith("Run it.")
    assert "share\n    of the rows (default: 0.5)" in call.__doc__
    assert call("x", k=None, mean=None) == ("x", Plan())
    with pytest.raises(TypeError, match="run\\(\\) has no option 'shar'. Did you mean 'share'"):
        call("x", shar=3)
    with pytest.raises(UsageError, match="give an integer"):
        call("x", k="three")
    with pytest.raises(TypeError, match="missing"):
        call()

    def run_with(what, plan, *, shared=None):
        return what, plan, shared

    assert keywords(run_with, Plan)("x", k=3, shared=[1]) == ("x", Plan(3), [1])
    assert keywords(run_with, Plan)("x") == ("x", Plan(), None)


def test_the_help_of_a_keyword_says_what_false_does_and_names_no_class():
    def run(what, plan, *, shared=None):
        """Run it.

        Parameters
        ----------
        what
            To run.
        plan
            How.
        shared : list
            With others.

        Returns
        -------
        None
        """

    text = inspect.getdoc(keywords(run, Plan))
    assert "reports\n    False: make no reports" in text
    assert "deep\n    look deeper" in text
    assert "what\n    To run.\nshared : list\n    With others.\n\nReturns" in text
    assert "plan\n" not in text
