"""The JavaScript that draws the points: regl-scatterplot with what it needs, in one file.

Fritz Lekschas, regl-scatterplot 1.16.0, MIT: https://github.com/flekschas/regl-scatterplot. Its licence and
those of the libraries in it, all MIT or ISC, stand in ``licences.txt``. ``build.sh`` makes both files anew.
"""

from __future__ import annotations

from pathlib import Path

NAME, VERSION, LICENCE = "regl-scatterplot", "1.16.0", "MIT"
FILE = Path(__file__).parent / "regl-scatterplot.js"
LICENCES = Path(__file__).parent / "licences.txt"
# What build.sh prints.
SHA256 = {
    FILE.name: "1d391cdeadd7d84a5bcd2a130fffd273c509d93eb5b8fd0ada495f55fcb1fbb0",
    LICENCES.name: "65e28980f9fbe71ef767ea3869f82106f9d8a46a9b92fe84b890915fbce0b4cf",
}


def library() -> str:
    """Return the script, under a line that says whose it is."""
    banner = (
        f"/* {NAME} {VERSION}, (c) Fritz Lekschas, {LICENCE} licence; with regl, (c) Mikola Lysenko, MIT */"
    )
    return f"{banner}\n{FILE.read_text(encoding='utf-8')}"
