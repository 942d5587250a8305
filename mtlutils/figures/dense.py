"""Figures of what networks say of every pixel."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.patches import Patch

from mtlutils.figures.drawing import STYLE

# Okabe & Ito's colours, and five more: each the one furthest from all before it, and from grey and white, in CIELAB to
# the eye without red or green cones as well as to others.
CLASS_COLOURS = (
    "#CC79A7", "#D55E00", "#F0E442", "#009E73", "#56B4E9", "#000000", "#0072B2",
    "#802000", "#0000FF", "#E69F00", "#8060FF", "#BFFF9F", "#000080",
)  # fmt: skip

_TASKS = ("segmentation", "depth", "normal")


def dense(
    images: np.ndarray,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    class_names: Sequence[str],
    depth_label: str = "depth (m)",
) -> Figure:
    """Draw images beside what several sources say of their pixels: a line a source, a column a task.

    All depths have one scale, from the 1st to the 99th percentile of those of the first source that has any; what is
    outside has the colour of the scale's end. A normal's x, y and z, from -1 to 1, are red, green and blue from 0 to 1.
    Where there is no class, depth or normal a pixel is hatched; where an image has none at all, the panel says so.

    Args:
        images: (N, H, W, 3) uint8.
        rows: Source -> task -> ``"segmentation"`` (N, H, W) classes, -1 where unlabelled; ``"depth"`` (N, H, W), 0
            where not known; ``"normal"`` (N, 3, H, W) of length 1, zero where not known. A source may lack tasks.
        class_names: Names of the classes, at most 13.
        depth_label: Name and unit of the depths.
    """
    tasks = _tasks(rows)
    scale = _scale(rows)
    n, height, width, _ = images.shape
    columns = 1 + len(tasks)
    with plt.style.context(STYLE):
        size = (2.25 * columns, n * (len(rows) * 2.25 * height / width + 0.3) + 1)
        figure = plt.figure(figsize=size, layout="constrained")
        # The last line is for the scale of the depths.
        lines = figure.add_gridspec(n * len(rows) + 1, columns, height_ratios=[*[1] * (n * len(rows)), 0.06])
        for i, image in enumerate(images):
            top = i * len(rows)
            axis = _panel(figure.add_subplot(lines[top : top + len(rows), 0]), image, "input")
            axis.set_anchor("N")
            for j, (source, of_task) in enumerate(rows.items()):
                for k, task in enumerate(tasks):
                    axis = figure.add_subplot(lines[top + j, k + 1])
                    pixels = _coloured(task, of_task[task][i], scale) if task in of_task else np.zeros((1, 1, 4))
                    _panel(axis, pixels, task if j == 0 else "")
                    if k == 0:
                        axis.set_ylabel(source.replace("(", "\n(", 1), fontsize="small")
                    axis.set_aspect("equal" if pixels[..., 3].any() else height / width)
        places = {task: lines[-1, 1 + k] for k, task in enumerate(tasks)}
        _add_keys(figure, places, scale, depth_label, class_names, 2 * columns)
    return figure


def dense_across(
    images: np.ndarray,
    rows: Mapping[str, Mapping[str, np.ndarray]],
    class_names: Sequence[str],
    depth_label: str = "depth (m)",
) -> Figure:
    """Draw as :func:`dense`, for many images: a line an image, a column a task and source, of those that have any.

    Args:
        images: See :func:`dense`; as ``rows``, ``class_names`` and ``depth_label``.
        rows: Source -> task -> values.
        class_names: Names of the classes.
        depth_label: Name and unit of the depths.
    """
    scale = _scale(rows)
    coloured = {
        (task, source): [_coloured(task, values, scale) for values in of_task[task]]
        for task in _tasks(rows)
        for source, of_task in rows.items()
        if task in of_task
    }
    shown = {column: each for column, each in coloured.items() if any(pixels[..., 3].any() for pixels in each)}
    n, height, width, _ = images.shape
    with plt.style.context(STYLE):
        size = (1.2 * (1 + len(shown)), n * 1.25 * height / width + 1.5)
        figure = plt.figure(figsize=size, layout="constrained")
        lines = figure.add_gridspec(n + 1, 1 + len(shown), height_ratios=[*[1] * n, 0.1])
        for i, image in enumerate(images):
            _panel(figure.add_subplot(lines[i, 0]), image, "input" if i == 0 else "")
            for k, ((task, source), each) in enumerate(shown.items(), start=1):
                title = f"{task}\n{source.replace('(', chr(10) + '(', 1)}" if i == 0 else ""
                axis = _panel(figure.add_subplot(lines[i, k]), each[i], title)
                axis.set_aspect("equal" if each[i][..., 3].any() else height / width)
        columns = {task: [k for k, column in enumerate(shown, start=1) if column[0] == task] for task, _ in shown}
        places = {task: lines[-1, min(own) : max(own) + 1] for task, own in columns.items()}
        _add_keys(figure, places, scale, depth_label, class_names, 1 + len(shown))
    return figure


def _tasks(rows: Mapping[str, Mapping[str, np.ndarray]]) -> list[str]:
    return [task for task in _TASKS if any(task in of_task for of_task in rows.values())]


def _scale(rows: Mapping[str, Mapping[str, np.ndarray]]) -> ScalarMappable:
    depths = [of_task["depth"] for of_task in rows.values() if "depth" in of_task]
    all_known = (each[np.isfinite(each) & (each != 0)].astype(np.float32) for each in depths)
    known = next((each for each in all_known if each.size), np.zeros(0))
    return ScalarMappable(Normalize(*(np.percentile(known, (1, 99)) if known.size else (0, 1))), "cividis")


def _add_keys(
    figure: Figure,
    places: Mapping[str, SubplotSpec],
    scale: ScalarMappable,
    depth_label: str,
    class_names: Sequence[str],
    columns: int,
) -> None:
    if "depth" in places:
        place = figure.add_subplot(places["depth"])
        figure.colorbar(scale, cax=place, orientation="horizontal", label=depth_label, extend="both")
    if "segmentation" in places:
        handles = [Patch(color=colour, label=name) for colour, name in zip(CLASS_COLOURS, class_names, strict=False)]
        missing = Patch(facecolor="0.9", edgecolor="0.6", hatch="////", label="none")
        figure.legend(handles=[*handles, missing], loc="outside lower center", ncols=min(7, columns))


def _coloured(task: str, values: np.ndarray, scale: ScalarMappable) -> np.ndarray:
    """Return colours (H, W, 4), from 0 to 1, transparent where there is no value."""
    if task == "segmentation":
        is_known = values >= 0
        colours = np.array([to_rgb(colour) for colour in CLASS_COLOURS])[np.where(is_known, values, 0)]
    elif task == "depth":
        is_known = np.isfinite(values) & (values != 0)
        colours = scale.to_rgba(np.where(is_known, values, 1).astype(np.float32))[..., :3]
    else:
        is_known = np.isfinite(values).all(axis=0) & (values != 0).any(axis=0)
        colours = (np.where(is_known, values, 0).transpose(1, 2, 0).clip(-1, 1) + 1) / 2
    # Matplotlib draws no half precision.
    return np.dstack([colours, is_known]).astype(np.float32)


def _panel(axis: Axes, pixels: np.ndarray, title: str) -> Axes:
    axis.imshow(pixels, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    axis.set_title(title, fontsize="small")
    axis.spines[:].set_visible(False)
    if pixels.shape[-1] == 4 and not pixels[..., 3].any():
        axis.set_facecolor("none")
        axis.text(0.5, 0.5, "none", transform=axis.transAxes, ha="center", va="center", color="0.3")
    else:
        axis.patch.set(facecolor="0.9", edgecolor="0.6", hatch="////", linewidth=0)
    return axis
