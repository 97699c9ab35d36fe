"""Draws the map: points as pixels; frame, legend, names and scale as lines and letters."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedkit.errors import UsageError
from reports.figure_options import MM, FigureOptions
from reports.map.columns import Category, Column, Number
from reports.map.hues import CYCLE, MISSING, RAMP, colour
from reports.map.paper import names
from reports.map.paper.fonts import families, short
from reports.map.paper.legend import Entry, legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from reports.map.sheets import Sheets

POINT = 72.0  # an inch
MARGIN, TEXT, SMALL = 5.0, 7.0, 6.0  # points
# Room for the names of the axes.
AXIS = 11.0
SCALE = 62.0
INK = "#222222"
# Points cover about so much of the map, within these diameters.
COVER, THIN, THICK = 0.12, 0.7, 4.0


@dataclass(frozen=True)
class Drawing:
    """What a figure shows.

    Parameters
    ----------
    xy : (n, 2) float32
        Places.
    column
        What colours them.
    hues
        Numbers of the hues of its categories, as `reports.map.hues.hues` gives them.
    axes
        Names of the two.
    sheets
        Pictures of the points.
    """

    xy: NDArray[np.float32]
    column: Column
    hues: tuple[int, ...]
    axes: tuple[str, str]
    sheets: Sheets | None = None


def check_library() -> None:
    """Refuse to go on without matplotlib.

    Raises
    ------
    UsageError
        It is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "--figure needs matplotlib: pip install 'embedkit-images[figure]', or leave it out."
        ) from error


def draw(drawing: Drawing, options: FigureOptions, kind: str) -> tuple[bytes, list[str]]:
    """Draw a figure; the same drawing gives the same bytes with the same matplotlib and fonts.

    Parameters
    ----------
    drawing
        What it shows.
    options
        How large, and with what on it.
    kind
        ``pdf``, ``svg`` or ``png``.

    Returns
    -------
    (bytes, list)
        The file, and what is worth saying of it.

    Raises
    ------
    UsageError
        matplotlib is not installed, or the figure has no room for its map.
    """
    check_library()
    from matplotlib import style
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    texts = [drawing.column.title, *drawing.axes]
    texts += [short(name) for name in getattr(drawing.column, "names", ())]
    fonts, lacking = families(texts)
    # What a user's own matplotlibrc says is not looked at.
    ours = {
        "pdf.fonttype": 42,
        "svg.hashsalt": "embedkit",
        "font.family": fonts,
        "font.size": TEXT,
        "text.color": INK,
        "axes.edgecolor": INK,
        "axes.linewidth": 0.5,
        "savefig.transparent": False,
    }
    stream = io.BytesIO()
    with style.context(["default", ours]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # said below
        figure = Figure(figsize=options.inches, dpi=POINT)
        FigureCanvasAgg(figure)
        notes = _Sheet(figure, drawing, options, vector=kind != "png").draw()
        # No date, and no version of what drew it.
        nothing = {"pdf": ("CreationDate", "Producer", "Creator"), "svg": ("Date", "Creator")}
        metadata: dict[str, Any] = dict.fromkeys(nothing.get(kind, ("Software",)))
        figure.savefig(stream, format=kind, dpi=options.figure_dpi, metadata=metadata)
    if lacking:
        notes.append(f"No font here has {' '.join(lacking[:10])}: boxes stand in their place in the figure.")
    return stream.getvalue(), notes


class _Sheet:
    """A figure that is being drawn, measured in points from its lower left corner."""

    def __init__(self, figure: Figure, drawing: Drawing, options: FigureOptions, *, vector: bool) -> None:
        self.figure, self.drawing, self.options, self.vector = figure, drawing, options, vector
        self.width, self.height = (side * POINT for side in options.inches)
        self.notes: list[str] = []

    def draw(self) -> list[str]:
        box = names.Box(MARGIN, MARGIN, self.width - 2 * MARGIN, self.height - 2 * MARGIN)
        column = self.drawing.column
        if isinstance(column, Category):
            box, note = legend(self.figure, box, short(column.title), self._entries(column))
            self.notes += [note] if note else []
        else:
            box = self._scale(box, column)
        box = names.Box(box.left + AXIS, box.low + AXIS, box.wide - AXIS, box.high - AXIS)
        if min(box.wide, box.high) < 36:
            raise UsageError(
                f"--figure-size {self.options.figure_size}: no room for a map beside its legend. "
                "Give more, or colour by something else with --color."
            )
        self.map = box
        self._frame()
        self._points()
        self._pictures()
        if isinstance(column, Category) and self.options.figure_names:
            self._names(column)
        return self.notes

    def _entries(self, column: Category) -> list[Entry]:
        counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.names))
        found = [
            Entry(short(name), colour(self.drawing.hues[code]), int(counts[code]))
            for code, name in enumerate(column.names)
            if counts[code]
        ]
        n = int((column.codes < 0).sum())
        return [*found, Entry(column.missing, MISSING, n)] if n else found

    def _axes(self, box: names.Box) -> Any:
        width, height = self.width, self.height
        return self.figure.add_axes((box.left / width, box.low / height, box.wide / width, box.high / height))

    def _frame(self) -> None:
        xy = self.drawing.xy.astype(np.float64)
        low, high = xy.min(axis=0), xy.max(axis=0)
        self.axes = self._axes(self.map)
        # One unit is as long across as up. The rim holds a whole point, or a picture.
        rim = max(THICK, self._side / 2 + 1)
        inner = max(self.map.wide - 2 * rim, 1), max(self.map.high - 2 * rim, 1)
        self.unit = max((high[0] - low[0]) / inner[0], (high[1] - low[1]) / inner[1]) or 1.0
        self.middle = (low + high) / 2
        # Drawn in points: what is placed and what is drawn are measured alike.
        self.axes.set_xlim(0, self.map.wide)
        self.axes.set_ylim(0, self.map.high)
        self.axes.set_xticks([])
        self.axes.set_yticks([])
        self.axes.spines[["top", "right"]].set_visible(False)
        across, up = self.drawing.axes
        written = {"fontsize": SMALL, "color": INK, "parse_math": False}
        self.axes.set_xlabel(across, loc="left", labelpad=2, **written)
        self.axes.set_ylabel(up, loc="bottom", labelpad=2, **written)

    @property
    def _side(self) -> float:
        return (self.options.figure_thumbnails or 0.0) / MM * POINT

    def _on_map(self, xy: NDArray[Any]) -> NDArray[np.float64]:
        middle = np.array([self.map.wide / 2, self.map.high / 2])
        return np.asarray((xy - self.middle) / self.unit + middle, np.float64)

    def _colours(self) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
        """Return the colour of each point, and which have none of their own."""
        column = self.drawing.column
        if isinstance(column, Category):
            known = column.codes >= 0
            palette = np.array([*map(colour, self.drawing.hues), MISSING])
            return palette[column.codes.clip(-1)], ~known
        from matplotlib.colors import to_hex

        known = np.isfinite(column.values)
        low, high = limits(column.values, column.period)
        share = np.clip((np.where(known, column.values, low) - low) / ((high - low) or 1), 0, 1)
        if high == low:
            share[:] = 0.5
        found = np.array([to_hex(one) for one in _ramp(column)(share)])
        found[~known] = MISSING
        return found, ~known

    def _points(self) -> None:
        xy = self._on_map(self.drawing.xy)
        colours, grey = self._colours()
        # In no order that would put one class over another; what has no colour lies below.
        order = np.random.default_rng(0).permutation(len(xy))
        order = order[np.argsort(~grey[order], kind="stable")]
        area = self.map.wide * self.map.high
        diameter = float(np.clip(2 * np.sqrt(COVER * area / max(len(xy), 1) / np.pi), THIN, THICK))
        self.axes.scatter(
            *xy[order].T,
            s=diameter**2,
            c=colours[order].tolist(),
            linewidths=0,
            rasterized=True,
            clip_on=False,
            zorder=1,
        )

    def _pictures(self) -> None:
        from matplotlib.patches import Rectangle

        from reports.map.sheets import cut

        sheets, side = self.drawing.sheets, self._side
        if not side or sheets is None:
            return
        xy, colours = self._on_map(self.drawing.xy), self._colours()[0]
        taken: list[names.Box] = []
        few = 0
        for row, pixels in cut(sheets):
            height, width = pixels.shape[:2]
            wide, high = side * width / max(width, height), side * height / max(width, height)
            box = names.Box(float(xy[row, 0]) - wide / 2, float(xy[row, 1]) - high / 2, wide, high)
            if any(box.meets(other) for other in taken):
                continue
            taken.append(box)
            few += max(width, height) < side / POINT * self.options.figure_dpi * 0.6
            edges = (box.left, box.left + wide, box.low, box.low + high)
            smooth = "none" if self.vector else "lanczos"
            self.axes.imshow(pixels, extent=edges, aspect="auto", interpolation=smooth, zorder=2)
            rim = Rectangle((box.left, box.low), wide, high, fill=False, ec=colours[row], lw=0.6, zorder=3)
            self.axes.add_patch(rim)
        # What imshow did to them.
        self.axes.set_xlim(0, self.map.wide)
        self.axes.set_ylim(0, self.map.high)
        if few:
            self.notes.append(
                f"Pictures of {sheets.size} pixels are few for {self.options.figure_thumbnails:g} mm at "
                f"{self.options.figure_dpi} dpi; --thumbnail-size gives up to 256."
            )

    def _names(self, column: Category) -> None:
        from matplotlib.patches import FancyBboxPatch

        found = names.anchors(self.drawing.xy, column.codes)
        texts = [short(column.names[one.code]) for one in found]
        points = [tuple(one) for one in self._on_map(np.array([(a.x, a.y) for a in found]).reshape(-1, 2))]
        drawn = [
            self.axes.text(0, 0, text, fontsize=TEXT, va="center", ha="center", parse_math=False, zorder=6)
            for text in texts
        ]
        renderer = self.figure.canvas.get_renderer()  # type: ignore[attr-defined]
        sizes = [(one.get_window_extent(renderer).width + 7, TEXT + 4.5) for one in drawn]
        boxes = names.place(points, sizes, (self.map.wide, self.map.high))
        for anchor, point, artist, box in zip(found, points, drawn, boxes, strict=True):
            if box is None:
                artist.remove()
                continue
            hue = colour(self.drawing.hues[anchor.code])
            x, y = box.left + box.wide / 2, box.low + box.high / 2
            if abs(point[1] - y) > 2 * box.high or abs(point[0] - x) > box.wide / 2 + box.high:
                end = (
                    np.clip(point[0], box.left, box.left + box.wide),
                    np.clip(point[1], box.low, box.low + box.high),
                )
                self.axes.plot([point[0], end[0]], [point[1], end[1]], color=hue, lw=0.6, zorder=4)
            around = FancyBboxPatch(
                (box.left, box.low),
                box.wide,
                box.high,
                boxstyle="round,pad=0,rounding_size=4",
                fc="#ffffffe0",
                ec=hue,
                lw=0.7,
                zorder=5,
            )
            self.axes.add_patch(around)
            artist.set_position((x, y - 0.2))
        if n := sum(box is None for box in boxes):
            self.notes.append(f"{n} {'name has' if n == 1 else 'names have'} no room on the figure's map.")

    def _scale(self, box: names.Box, column: Number) -> names.Box:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        known = column.values[np.isfinite(column.values)]
        n = len(column.values) - len(known)
        if not len(known):
            return box
        low, high = limits(column.values, column.period)
        norm = Normalize(low, high) if high > low else Normalize(low - 0.5, low + 0.5)
        ends = (known.min() < low, known.max() > high)
        extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(ends, "neither")
        bar = names.Box(
            box.left + box.wide - SCALE + 8, box.low + AXIS + 12 * bool(n), 7, box.high - AXIS - 12 * bool(n)
        )
        drawn = self.figure.colorbar(
            ScalarMappable(norm, _ramp(column)), cax=self._axes(bar), extend=extend, extendfrac=0.03
        )
        drawn.outline.set_linewidth(0.4)
        drawn.solids.set_rasterized(True)  # type: ignore[union-attr]
        drawn.ax.tick_params(labelsize=SMALL, width=0.4, length=2, pad=1.5)
        drawn.ax.yaxis.get_offset_text().set_fontsize(SMALL)
        drawn.set_label(short(column.title), fontsize=TEXT, labelpad=2)
        drawn.ax.yaxis.label.set_parse_math(False)
        if n:
            where = (bar.left / self.width, (box.low + AXIS) / self.height)
            self.figure.text(*where, f"{n:,} missing", fontsize=SMALL, color="#6b7280", va="center")
        return names.Box(box.left, box.low, box.wide - SCALE, box.high)


def limits(values: NDArray[np.float32], period: float = 0.0) -> tuple[float, float]:
    """Return the ends of a scale: the 1st and the 99th percentile, or once round, as the page has them."""
    if period:
        return 0.0, period
    known = np.sort(values[np.isfinite(values)]).astype(np.float64)
    if not len(known):
        return 0.0, 1.0
    low, high = (float(known[int(share * (len(known) - 1) + 0.5)]) for share in (0.01, 0.99))
    return (low, high) if high > low else (float(known[0]), float(known[-1]))


def _ramp(column: Number) -> Any:
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ramp", list(CYCLE if column.period else RAMP))
