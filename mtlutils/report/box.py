"""What tables share: a box with a caption, and lines on where numbers come from."""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import statistics
from mtlutils.papers import Paper, Table
from mtlutils.records import Record


def box(
    frame: pd.DataFrame,
    caption: tuple[str, str],
    notes: Iterable[str],
    details: str = "",
    classes: pd.DataFrame | None = None,
    uuid: str = "table",
    index: bool = True,
) -> HTML:
    """Show a table with its caption and, below it, lines on where its numbers come from.

    Args:
        frame: The cells, as HTML.
        caption: What the table shows, and how to read it.
        notes: Lines of text.
        details: HTML below the notes.
        classes: A style class a cell.
        uuid: Makes the table's element ids.
        index: Whether the frame's index is a column of the table.
    """
    title, legend = (html.escape(text, quote=False) for text in caption)
    styler = frame.style.set_caption(f'{title} <span class="legend">{legend}</span>').set_uuid(uuid)
    if classes is not None:
        styler = styler.set_td_classes(classes)
    if not index:
        styler = styler.hide(axis="index")
    shown = [re.sub("`(.+?)`", r"<code>\1</code>", html.escape(note, quote=False)) for note in notes]
    below = "".join(f'<p class="provenance">{note}</p>' for note in shown)
    # An empty header heads nothing, and a screen reader would read it out.
    empty = r'<th ((?:id="[^"]*" )?class="[^"]*\b(?:blank|col_heading)\b[^>]*)>(?:&nbsp;)?</th>'
    table = re.sub(empty, r"<td \1></td>", styler.to_html())
    first, *others = table.split(_ELEMENT)
    table = first + "".join(f"{uuid}-cell-{i // 2}{part}" for i, part in enumerate(others))
    # Hidden, as the cells' details are, for a notebook's own page, where no style sheet would open and close them.
    # The keyboard stops at each such cell.
    skip = f'<a class="skip-cells" href="#{uuid}-end" hidden>Skip the cells of this table</a>' * bool(others)
    end = f'<span id="{uuid}-end" tabindex="-1"></span>' * bool(others)
    return HTML(f'<div class="table-box" tabindex="0">{skip}{table}{end}{below}{details}</div>')


_ELEMENT = "id-of-the-details"  # what stands for it in a cell, twice, until the table is put together


def measured_cell(
    values: Iterable[float | None],
    found: Sequence[Record],
    of: str,
    unit: str = "",
    digits: int = 2,
    is_difference: bool = False,
    text: str = "",
) -> str:
    """Return a cell of :func:`box`, as HTML: mean and interval over runs; and what is behind them.

    That is, on hover and keyboard focus, by the book's style sheet alone: the number of values, their interval,
    profile, data, device and commit.

    Args:
        values: Of each run or seed, None where one diverged.
        found: The records that they are from; a cell without any has no details.
        of: Profile and data.
        unit: Of the values.
        digits: Their digits after the point.
        is_difference: Whether they have a sign also where they are positive.
        text: What the cell shows in the place of the mean.
    """
    each = list(values)
    good = statistics.finite(each)
    mean, half = statistics.interval(good)
    lost = len(each) - len(good)
    if not text:
        text = signed(mean, half, digits) if is_difference else number(mean, half, unit, digits)
        text = "diverged" if each and not good else text + f" ({lost} of {len(each)} diverged)" * bool(lost)
    if not found or not each:
        return text
    low, high = (number(end, math.nan, unit, digits) for end in (mean - half, mean + half))
    parts = [
        f"n = {len(good)}" + f" of {len(each)} runs" * bool(lost),
        "no interval" if math.isnan(half) else f"95 % interval {low} to {high}",
        of,
        *_machine_and_commit(found),
    ]
    # Beside the cell's text and not in it, so that a screen reader says them once, as its description.
    return (
        f'<span tabindex="0" aria-describedby="{_ELEMENT}">{text}</span><span class="cell-details" role="tooltip" '
        f'id="{_ELEMENT}" hidden>{html.escape(" · ".join(parts), quote=False)}</span>'
    )


def provenance(label: str, found: Sequence[Record]) -> str:
    """Return one line on where numbers come from: data, seeds, device, code and date.

    Args:
        label: What the line begins with.
        found: The records behind the numbers.
    """
    if not found:
        return f"{label}: no records."

    seeds = sorted({record.seed for record in found})
    span = f"{seeds[0]}–{seeds[-1]}" if seeds == list(range(seeds[0], seeds[-1] + 1)) else ", ".join(map(str, seeds))
    dates = sorted({record.started.date().isoformat() for record in found})
    parts = [
        several(record.data.description for record in found),
        f"seeds {span}" if len(seeds) > 1 else f"seed {seeds[0]}",
        *_machine_and_commit(found),
        dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
    ]
    return f"{label}: {' · '.join(part for part in parts if part)}."


def sources(groups: Mapping[str, Sequence[Record]]) -> str:
    """Return, for each group of records in a figure, where its numbers come from."""
    return " ".join(provenance(heading, list(found)) for heading, found in groups.items())


def number(mean: float, half: float, unit: str, digits: int = 2) -> str:
    """Write a mean and half its interval, a dash if there is none; seconds below a millisecond in microseconds."""
    if math.isnan(mean):
        return "–"
    if unit == "s" and mean < 1e-3:
        mean, half, digits, suffix = mean * 1e6, half * 1e6, 1, " µs"
    else:
        suffix = ""
    spread = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{mean:.{digits}f}{spread}{suffix}"


def signed(mean: float, half: float, digits: int = 2) -> str:
    """Write a difference with its sign, and half its interval, a dash if there is none."""
    if math.isnan(mean):
        return "–"
    spread = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{round(mean, digits) + 0.0:+.{digits}f}{spread}"  # no negative zero


def headings(table: Table) -> dict[str, str]:
    """Return the heading of each column, by its id: its label, and where columns differ in them, direction and unit."""

    if _alike(table):
        return {column.id: column.label for column in table.columns}
    arrows = {"higher": "↑", "lower": "↓"}
    return {
        column.id: f"{column.label} {arrows[column.direction]}" + (f" ({column.unit})" if column.unit else "")
        for column in table.columns
    }


def units(table: Table) -> str:
    """Return the sentence of a legend that gives the unit, or says how to read :func:`headings`."""
    if _alike(table):
        return f"Unit: {table.columns[0].unit or 'none'}."
    return "Units stand in brackets, where there are any; ↑: higher is better, ↓: lower is."


def _alike(table: Table) -> bool:
    return len({(column.unit, column.direction) for column in table.columns}) == 1


def several(values: Iterable[str]) -> str:
    """Return what there is of values, each once."""
    return " / ".join(sorted(set(values)))


def _machine_and_commit(found: Sequence[Record]) -> list[str]:
    commits = several(
        (r.source.commit[:7] if r.source.commit else "no commit") + ("+changes" if r.source.dirty else "")
        for r in found
    )
    return [several(map(_machine, found)), commits if commits == "no commit" else f"commit {commits}"]


def _machine(record: Record) -> str:
    on = record.environment
    return f"{on.device}, {on.threads} thread{'s' * (on.threads > 1)}, torch {on.versions['torch']}"


def settings_of(groups: Mapping[str, Sequence[Record]]) -> str:
    """The settings that all records of a group have alike, folded away."""
    lines = []
    for heading, found in groups.items():
        each = [record.parameters for record in found]
        alike = [name for name in each[0] if all(one.get(name, ...) == each[0][name] for one in each)] if each else []
        values = ", ".join(f"{name} {json.dumps(each[0][name])}" for name in alike if name not in {"tasks", "data"})
        lines += [f"<p>{html.escape(f'{heading}: {values}', quote=False)}</p>"] if values else []
    return f'<details class="provenance"><summary>Settings</summary>{"".join(lines)}</details>'


def cite(paper: Paper) -> str:
    """Return the authors' last names, of more than two the first's alone, and the year."""
    first, *others = [author.split()[-1] for author in paper.authors]
    names = f"{first} et al." if len(others) > 1 else " & ".join([first, *others])
    return f"{names} {paper.year}"
