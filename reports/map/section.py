"""What a part of the page below the map is: data from Python, drawn by a script beside it."""

from __future__ import annotations

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPTS = Path(__file__).parent / "sections"


@dataclass(frozen=True)
class Section:
    """One section.

    Parameters
    ----------
    name
        Its id in the page. ``sections/<name>.js`` sets ``embedkit.sections.<name>``, a function of the data,
        of the section's element, and of what `page.js` shares.
    title
        Its heading.
    link
        What the navigation calls it.
    data
        What the script draws.
    body
        HTML that stands there without a script, in which all text is escaped.
    """

    name: str
    title: str
    link: str
    data: Any
    body: str = ""

    @property
    def element(self) -> str:
        """Its place in the page, with the heading alone."""
        return f'<section id="{self.name}"><h2>{html.escape(self.title)}</h2>{self.body}</section>'

    @property
    def script(self) -> str:
        """What draws it; nothing where its body is all."""
        if self.data is None:
            return ""
        return (SCRIPTS / f"{self.name}.js").read_text(encoding="utf-8")

    @property
    def record(self) -> dict[str, Any]:
        """What stands in the page's data."""
        return {"name": self.name, "link": self.link, "data": self.data}
