"""Write embedkit/__init__.pyi: the face with every keyword and type, for editors and type checkers.

`import embedkit` makes its functions of the options when they are used, which no editor can follow. `make
docs` runs this; a test compares the file with what it would write.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import embedkit
from embedkit.options import declared
from embedkit.options.declaring import Declared

STUB = Path(embedkit.__file__).with_name("__init__.pyi")
HEAD = '"""Written by docs/write_stub.py from the options of every verb; don\'t edit it by hand."""\n\n'
PLACE = "_Place"
# What a value is called that is a place, whether text or a path is kept of it.
PLACES = ("PATH", "DIR", "FILE")
KINDS = {bool: "bool", int: "int", float: "float", str: "str", Path: PLACE}


def stub() -> str:
    """Return the whole stub."""
    imports = {"import os", "from typing import Any, Literal"}
    imports |= {f"from collections.abc import {name}" for name in ("Mapping", "Sequence")}
    bodies = []
    for name in embedkit.__all__:
        thing = getattr(embedkit, name)
        if hasattr(thing, "__options__"):
            found, body = _function(name, thing)
            imports |= found
            bodies.append(body)
        else:
            imports.add(f"from {thing.__module__} import {name} as {name}")
    given_on = {one.partition(" as ")[0] for one in imports if " as " in one}
    names = "".join(f"    {json.dumps(name)},\n" for name in embedkit.__all__)
    head = [f"{PLACE} = str | os.PathLike[str]", "__version__: str", f"__all__ = [\n{names}]"]
    return HEAD + "\n".join([*sorted(imports - given_on), "", *head, "", *bodies])


def _function(name: str, call: Any) -> tuple[set[str], str]:
    """Return what a function's stub needs to import, and the stub."""
    original: Callable[..., Any] = call.__wrapped__
    options = {one.name: one for cls in call.__options__ for one in declared(cls).values()}
    lines, starred, used = [], False, [str(inspect.signature(original).return_annotation)]
    for one in inspect.signature(call).parameters.values():
        if one.kind is one.VAR_POSITIONAL:
            starred = True
            lines.append(f"*{one.name}: {one.annotation}")
        elif one.kind is one.KEYWORD_ONLY and not starred:
            starred = True
            lines.append("*")
        if one.name in options:
            lines.append(f"{one.name}: {annotation(options[one.name])} = {_default(one.default)}")
            continue
        used.append(str(one.annotation))
        if one.kind is not one.VAR_POSITIONAL:
            default = "" if one.default is one.empty else f" = {_default(one.default)}"
            lines.append(f"{one.name}: {one.annotation}{default}")
    parameters = "".join(f"    {line},\n" for line in lines)
    text = (inspect.getdoc(call) or "").replace("\\", "\\\\")
    doc = "\n".join(f"    {line}".rstrip() for line in text.splitlines())
    body = f'def {name}(\n{parameters}) -> {used[0]}:\n    """{doc.lstrip()}\n    """\n'
    return _imports(original, used), body


def annotation(one: Declared) -> str:
    """Return what a keyword takes."""
    how = one.option
    item = PLACE if how.metavar in PLACES else KINDS[one.type]
    if how.choices or how.tables:
        item = _literal(how.choices) if how.choices else f"{item} | Mapping[str, Any]"
    if how.words:
        item += f" | {_literal(how.words)}"
    if one.many is not None:
        several = f"Sequence[{item}]"
        item = f"{item} | {several}" if one.many == "+" else several
    if how.separator and one.type is not str:
        item += " | str"
    return f"{item} | None" if one.optional else item


def _literal(words: tuple[str, ...]) -> str:
    return f"Literal[{', '.join(map(json.dumps, words))}]"


def _default(value: Any) -> str:
    simple = value is None or isinstance(value, (bool, int, float, str)) or value == ()
    return (json.dumps(value) if isinstance(value, str) else repr(value)) if simple else "..."


def _imports(function: Callable[..., Any], annotations: list[str]) -> set[str]:
    """Return the imports of the names in annotations, from where the function's own module has them."""
    module = function.__module__
    known = {"os": "import os"}
    for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module]))):
        if isinstance(node, ast.ImportFrom):  # those for type checkers alone are here too
            known |= {one.asname or one.name: f"from {node.module} import {one.name}" for one in node.names}
    names = {
        node.id for text in annotations for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)
    }
    return {known.get(name, f"from {module} import {name}") for name in names if not hasattr(builtins, name)}


if __name__ == "__main__":
    STUB.write_text(stub(), encoding="utf-8")
    print(STUB.relative_to(Path(embedkit.__file__).parents[1]))
