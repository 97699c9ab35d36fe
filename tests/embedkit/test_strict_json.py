"""JSON from outside is of a declared shape, or refused by place."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from embedkit.strict_json import UndeclaredError, declared, of_shape


@dataclass(frozen=True)
class Line:
    n: int
    names: list[str] = field(default_factory=list)


def test_declared_json_becomes_what_it_is_declared_to_be():
    assert declared('{"n": 3, "names": ["a"], "later": 1}', Line) == Line(3, ["a"])
    assert declared(b'{"a": [1, null]}', dict[str, Any]) == {"a": [1, None]}
    assert of_shape({"n": 2}, Line) == Line(2)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "Expected `object`"),
        ('{"names": []}', "required field `n`"),
        ('{"n": "3"}', r"\$\.n"),
        ('{"n": 3.5}', r"\$\.n"),
        ('{"n": true}', r"\$\.n"),
        ('{"n": 3, "names": [null]}', r"\$\.names\[0\]"),
        ('{"n": NaN}', "malformed"),
        ('{"n": 1e999}', "out of range"),
        ('{"n": 3, "names": ["\\ud800"]}', "truncated|surrogate"),
        (b'{"n": 3, "names": ["\xff"]}', "utf-8|UTF-8"),
        ('{"n": 3', "truncated"),
        ("", "truncated"),
        ('{"n": 3, "x": ' + "[" * 100_000 + "]" * 100_000 + "}", "."),
    ],
)
def test_anything_else_is_refused(text, said):
    with pytest.raises(UndeclaredError, match=said):
        declared(text, Line)


def test_a_half_surrogate_in_text_is_refused():
    with pytest.raises(UndeclaredError):
        declared('{"n": 3, "names": ["\ud800"]}', Line)
