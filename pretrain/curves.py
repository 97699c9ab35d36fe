"""The log as an SVG picture: a small panel for the loss and for every monitor."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, COLUMNS = 300, 170, 3
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 30, 24


def draw_curves(log: Sequence[dict[str, float]], *, kept: int | None = None) -> str:
    """Draw each column of the log against its epoch; a dashed line stands at the epoch that is kept.

    Returns
    -------
    str
        A self-contained SVG document. A point tells its epoch and value to the mouse.
    """
    names = [n for n in dict.fromkeys(k for row in log for k in row) if n not in ("epoch", "seconds")]
    names.sort(key=lambda name: name != "loss")
    rows = -(-len(names) // COLUMNS)
    epochs = max(1.0, *(row["epoch"] for row in log))
    panels = [
        f'<g transform="translate({WIDTH * (i % COLUMNS)} {HEIGHT * (i // COLUMNS)})">'
        + _panel(name, [(row["epoch"], row[name]) for row in log if name in row], epochs, kept)
        + "</g>"
        for i, name in enumerate(names)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {HEIGHT * rows}" '
        'font-family="sans-serif" font-size="11" fill="#333">'
        '<rect width="100%" height="100%" fill="#fff"/>' + "".join(panels) + "</svg>\n"
    )


def _panel(name: str, points: list[tuple[float, float]], epochs: float, kept: int | None) -> str:
    low, high = min(value for _, value in points), max(value for _, value in points)
    middle, bottom = (low + high) / 2, HEIGHT - BOTTOM

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * epoch / epochs

    def y(value: float) -> float:
        share = (value - low) / (high - low) if high > low else 0.5
        return bottom - (bottom - TOP) * share

    ticks = sorted({low, middle, high})
    parts = [f'<text x="{LEFT}" y="18" font-weight="bold">{escape(name.replace("_", " "))}</text>']
    parts += [
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}" stroke="#ddd"/>'
        f'<text x="{LEFT - 5}" y="{y(t) + 4:.1f}" text-anchor="end">{t:.3g}</text>'
        for t in ticks
    ]
    below = {0.0: "0", epochs / 2: "epoch", epochs: f"{epochs:g}"}
    parts += [
        f'<text x="{x(e):.1f}" y="{HEIGHT - 8}" text-anchor="middle">{text}</text>'
        for e, text in below.items()
    ]
    if kept is not None:
        parts.append(
            f'<line x1="{x(kept):.1f}" x2="{x(kept):.1f}" y1="{TOP}" y2="{bottom}" stroke="#999" '
            'stroke-dasharray="3 3"/>'
        )
    line = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
    parts.append(f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>')
    parts += [
        f'<circle cx="{x(epoch):.1f}" cy="{y(value):.1f}" r="2.5" fill="#1f5fa8">'
        f"<title>epoch {epoch:g}: {value:.6g}</title></circle>"
        for epoch, value in points
    ]
    return "".join(parts)
