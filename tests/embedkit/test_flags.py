"""A flag means one thing, whichever verb has it."""

from itertools import combinations

import pytest

from embedkit.options import declared
from embedkit.verbs import VERBS, target

# Verb and flag -> why it says something else there.
OTHERWISE = {
    ("compare", "--budget"): "the one of the measure with few labels",
    ("cam", "--predictions"): "one table, whose images alone are looked at; in votes those of several models",
    ("cluster", "--epochs"): "of TEMI, over rows; elsewhere over images",
    ("leaderboard", "--method"): "any method that a result names, of clusterings and of probes",
    ("import", "--labels"): "a column of the file too, or labels in the order of the rows",
    ("import", "--dataset"): "gives the name that leaderboard chooses by",
    ("leaks", "--save-split"): "what is written is the split without copies",
    ("similar", "--n"): "images to find; of simulated galaxies, how many are drawn",
    ("outliers", "--n"): "images to list; of simulated galaxies, how many are drawn",
    ("quality", "--runs"): "results to compare with; elsewhere those to show",
    ("quality", "--n-rows"): "rows that the criteria see; in verify those extracted again",
    ("probe", "--budget"): "several, each fitted; elsewhere one of them",
    ("pretrain", "--method"): "what trains; elsewhere how rows are clustered",
    ("probe", "--weight-decay"): "several, to choose from; elsewhere the one of AdamW",
    ("probe", "--n-neighbors"): "those that vote in kNN, several to choose from; elsewhere those of UMAP",
}


def options(verb):
    """Flag to option, of a verb whose options are declared."""
    found = [one for name in VERBS[verb].options for one in declared(target(name)).values()]
    return {("--output" if one.name == "output" else one.flag): one for one in found}


BY_VERB = {verb: options(verb) for verb in VERBS if VERBS[verb].options}


def meaning(one, flag):
    """What a person reads of it: what -o writes differs."""
    told = None if flag == "--output" else (one.option.metavar, one.option.help)
    return one.type, one.many, told


@pytest.mark.parametrize(("first", "second"), list(combinations(BY_VERB, 2)))
def test_a_flag_of_two_verbs_is_one_flag(first, second):
    for flag, one in BY_VERB[first].items():
        other = BY_VERB[second].get(flag)
        if other is None or (first, flag) in OTHERWISE or (second, flag) in OTHERWISE:
            continue
        assert meaning(one, flag) == meaning(other, flag), (first, second, flag)
        choices = [set(how.option.choices) for how in (one, other) if how.option.choices]
        assert len(choices) != 1, f"{flag}: {first} or {second} takes any word"
        assert not choices or choices[0] <= choices[1] or choices[1] <= choices[0], (first, second, flag)


def test_exceptions_are_of_flags_that_exist():
    for (verb, flag), reason in OTHERWISE.items():
        assert flag in BY_VERB[verb]
        assert reason
