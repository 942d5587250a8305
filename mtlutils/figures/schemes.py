"""Drawings of how networks are shared, all in one visual language."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch, Patch, Rectangle

from mtlutils.figures.drawing import STYLE

# Both tasks together, the first, the second: Okabe & Ito's colours, and hatches for those who cannot tell them apart.
_FILLS = {"both": ("#D9D9D9", ""), "first": ("#56B4E9", "///"), "second": ("#E69F00", "..."), "none": ("white", "")}
_TASKS = ("first", "second")
_LEFT, _MIDDLE, _RIGHT = 1.0, 2.0, 3.0
_STAGES = (1, 2, 3)
_HEADS = 4
_HALF_WIDTH, _HALF_HEIGHT = 0.42, 0.22

Drawing = Callable[[Axes], None]
Point = tuple[float, float]


def sharing_schemes() -> Figure:
    """Draw how each architecture of ``mtlutils.models`` shares three stages between two tasks, the input below."""
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(4, 4, figsize=(9, 11), layout="constrained")
        for axis in axes.flat[len(_SCHEMES) :]:
            axis.remove()
        for axis, (name, draw) in zip(axes.flat, _SCHEMES.items(), strict=False):
            axis.axis("off")
            axis.set(xlim=(0, 4), ylim=(-0.35, 4.6), title=name)
            draw(axis)
        handles: list[Patch | Line2D] = [
            Patch(facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.8, label=label)
            for label, (colour, hatch) in zip(
                ("both tasks", "first task", "second task", "none"), _FILLS.values(), strict=True
            )
        ]
        handles += [
            Line2D([], [], color="black", linewidth=1, label="features"),
            Line2D([], [], color="black", linewidth=1, linestyle="--", label="penalty"),
            Line2D([], [], color="black", linewidth=1, linestyle=":", label="in training only"),
            Line2D([], [], color="black", marker="o", markerfacecolor="white", linestyle="", label="learned mixture"),
        ]
        figure.legend(handles=handles, loc="lower right", bbox_to_anchor=(0.9, 0.06), ncols=2)
    return figure


def _box(axis: Axes, x: float, y: float, whose: str, width: float = 2 * _HALF_WIDTH, style: str = "-") -> None:
    colour, hatch = _FILLS[whose]
    corner = x - width / 2, y - _HALF_HEIGHT
    axis.add_patch(
        Rectangle(
            corner, width, 2 * _HALF_HEIGHT, facecolor=colour, hatch=hatch, edgecolor="black", linewidth=0.8,
            linestyle=style, zorder=2,
        )
    )  # fmt: skip


def _arrow(axis: Axes, start: Point, end: Point, bend: float = 0, style: str = "-", head: bool = True) -> None:
    axis.add_patch(
        FancyArrowPatch(
            start, end, arrowstyle="-|>" if head else "-", connectionstyle=f"arc3,rad={bend}", linestyle=style,
            color="black", linewidth=0.9, mutation_scale=7, shrinkA=0, shrinkB=0, zorder=1,
        )
    )  # fmt: skip


def _up(axis: Axes, x: float, y: float, to_x: float | None = None, style: str = "-") -> None:
    """Draw features from a box at height y to the one above it."""
    _arrow(axis, (x, y + _HALF_HEIGHT), (x if to_x is None else to_x, y + 1 - _HALF_HEIGHT), style=style)


def _mixture(axis: Axes, x: float, y: float, text: str = "") -> None:
    axis.plot(x, y, "o", color="black", markerfacecolor="white", markersize=7 if text else 5, zorder=3)
    axis.text(x, y - 0.01, text, ha="center", va="center", fontsize=6, zorder=4)


def _input(axis: Axes, columns: Sequence[float]) -> None:
    axis.text(_MIDDLE, -0.05, "input", ha="center", va="center", fontsize="small")
    for x in columns:
        _arrow(axis, (_MIDDLE + 0.3 * (x - _MIDDLE), 0.15), (x, 1 - _HALF_HEIGHT))


def _trunk(axis: Axes, stages: Sequence[int] = _STAGES) -> None:
    """Draw one encoder of both tasks."""
    _input(axis, [_MIDDLE])
    for y in stages:
        _box(axis, _MIDDLE, y, "both", width=1.2)
        if y < _STAGES[-1]:
            _up(axis, _MIDDLE, y)


def _heads(axis: Axes) -> None:
    """Draw the heads of both tasks on a trunk."""
    for x, whose in zip((_LEFT, _RIGHT), _TASKS, strict=True):
        _box(axis, x, _HEADS, whose)
        _arrow(axis, (_MIDDLE + 0.3 * (x - _MIDDLE), 3 + _HALF_HEIGHT), (x, _HEADS - _HALF_HEIGHT))


def _columns(axis: Axes) -> None:
    """Draw an encoder and a head a task."""
    _input(axis, [_LEFT, _RIGHT])
    for x, whose in zip((_LEFT, _RIGHT), _TASKS, strict=True):
        for y in (*_STAGES, _HEADS):
            _box(axis, x, y, whose)
            if y < _HEADS:
                _up(axis, x, y)


def _crossed(axis: Axes) -> None:
    """Draw mixtures of both columns after every stage."""
    for y in _STAGES:
        for x, other in ((_LEFT, _RIGHT), (_RIGHT, _LEFT)):
            _arrow(axis, (other, y + _HALF_HEIGHT), (x, y + 0.62), head=False)
            _mixture(axis, x, y + 0.62)


def _hard(axis: Axes) -> None:
    _trunk(axis)
    _heads(axis)


def _soft(axis: Axes) -> None:
    _columns(axis)
    for y in _STAGES:
        _arrow(axis, (_LEFT + _HALF_WIDTH, y), (_RIGHT - _HALF_WIDTH, y), style="--", head=False)


def _cross_stitch(axis: Axes) -> None:
    _columns(axis)
    _crossed(axis)


def _sluice(axis: Axes) -> None:
    _columns(axis)
    _crossed(axis)
    for x, side in ((_LEFT, -1), (_RIGHT, 1)):
        for y in _STAGES:  # the box's two subspaces, which a penalty keeps apart
            edges = [y - _HALF_HEIGHT, y + _HALF_HEIGHT]
            axis.plot([x, x], edges, color="black", linewidth=1, linestyle="--", zorder=3)
        for y in _STAGES[:2]:
            edge = x + side * _HALF_WIDTH
            _arrow(axis, (edge, y), (edge, _HEADS), bend=0.25 * side)


def _gated(axis: Axes) -> None:
    _columns(axis)
    for y in _STAGES:
        for x, other, height in ((_LEFT, _RIGHT, 0.42), (_RIGHT, _LEFT, 0.62)):
            _arrow(axis, (other, y + height), (x, y + height))
            _mixture(axis, _MIDDLE + 0.25 * (x - _MIDDLE), y + height, "σ")


def _attention(axis: Axes) -> None:
    _trunk(axis)
    for x, side, whose in zip((_LEFT, _RIGHT), (-1, 1), _TASKS, strict=True):
        x += 0.25 * side
        for y in _STAGES:
            _box(axis, x, y, whose, width=0.5)
            _arrow(axis, (_MIDDLE + 0.6 * side, y), (x - 0.25 * side, y))
            _up(axis, x, y)
        _box(axis, x, _HEADS, whose)


def _multilinear(axis: Axes) -> None:
    _hard(axis)
    _arrow(axis, (_LEFT + _HALF_WIDTH, _HEADS), (_RIGHT - _HALF_WIDTH, _HEADS), style="--", head=False)
    axis.text(_MIDDLE, _HEADS + 0.12, "Σ", ha="center", fontsize="small")


def _routing(axis: Axes) -> None:
    _input(axis, [_MIDDLE])
    masks = (
        ("first", "both", "second", "none"),
        ("both", "first", "none", "second"),
        ("second", "none", "both", "first"),
    )
    for y, mask in zip(_STAGES, masks, strict=True):
        for i, whose in enumerate(mask):
            _box(axis, _MIDDLE + 0.4 * (i - 1.5), y, whose, width=0.4)
        if y < _STAGES[-1]:
            _up(axis, _MIDDLE, y)
    _heads(axis)


def _layered(axis: Axes) -> None:
    _trunk(axis, _STAGES[:2])
    _box(axis, _MIDDLE, 3, "first", width=1.2)
    _box(axis, _LEFT, _HEADS, "first")
    _arrow(axis, (_MIDDLE - 0.3, 3 + _HALF_HEIGHT), (_LEFT, _HEADS - _HALF_HEIGHT))
    _box(axis, _RIGHT + 0.3, 3, "second")
    _arrow(axis, (_MIDDLE + 0.3, 2 + _HALF_HEIGHT), (_RIGHT + 0.3, 3 - _HALF_HEIGHT))


def _backbones(axis: Axes) -> None:
    _input(axis, [_LEFT, _RIGHT])
    for x in (_LEFT, _RIGHT):
        for y in _STAGES:
            _box(axis, x, y, "both")
            if y < _STAGES[-1]:
                _up(axis, x, y)
        for to_x, whose in zip((_LEFT, _RIGHT), _TASKS, strict=True):
            _box(axis, to_x, _HEADS, whose)
            _up(axis, x, 3, to_x)


def _auxiliary(axis: Axes) -> None:
    _hard(axis)
    for x, whose in ((0.45, "first"), (3.55, "second")):
        _box(axis, x, 3, whose, width=0.7, style=":")
        side = 0.6 if x > _MIDDLE else -0.6
        for y in _STAGES:
            _arrow(axis, (_MIDDLE + side, y), (x - side * 0.2, 3 - _HALF_HEIGHT * (y < 3)), style=":")


def _adashare(axis: Axes) -> None:
    _hard(axis)
    below, above = (_MIDDLE, 1.45), (_MIDDLE, 2.55)
    _arrow(axis, below, above, bend=-1.6)
    _mixture(axis, _MIDDLE - 0.88, 2, "u")
    _arrow(axis, below, above, bend=1.6)
    _mixture(axis, _MIDDLE + 0.88, 2, "u")
    _arrow(axis, above, (_MIDDLE + 0.65, 3.5), bend=0.9)
    _mixture(axis, _MIDDLE + 0.78, 2.82, "u")


_SCHEMES: dict[str, Drawing] = {
    "single_task": _columns,
    "hard_sharing": _hard,
    "soft_sharing": _soft,
    "cross_stitch": _cross_stitch,
    "sluice": _sluice,
    "gated_sharing": _gated,
    "mtan": _attention,
    "multilinear_relationship": _multilinear,
    "task_routing": _routing,
    "layered_supervision": _layered,
    "multi_backbone": _backbones,
    "auxiliary_modules": _auxiliary,
    "adashare": _adashare,
}
