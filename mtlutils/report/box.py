"""What tables share: a box with a caption, and lines on where numbers come from."""

import html
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import statistics
from mtlutils.comparisons import Cell
from mtlutils.papers import Column, Paper, Table
from mtlutils.records import Record


def box(
    frame: pd.DataFrame,
    caption: tuple[str, str],
    notes: Iterable[str],
    details: str = "",
    classes: pd.DataFrame | None = None,
    uuid: str = "table",
    index: bool = True,
    skippable: bool = False,
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
        skippable: Whether a link leads past cells that the keyboard stops at, see :func:`with_details`.
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
    # Hidden, as the cells' details are, for a notebook's own page, where no style sheet would open and close them.
    skip = f'<a class="skip-cells" href="#{uuid}-end" hidden>Skip the cells of this table</a>' * skippable
    end = f'<span id="{uuid}-end" tabindex="-1"></span>' * skippable
    return HTML(f'<div class="table-box" tabindex="0">{skip}{table}{end}{below}{details}</div>')


def with_details(text: str, details: str, element: str) -> str:
    """Return a cell's HTML that shows ``details`` on hover and keyboard focus, by the book's style sheet alone.

    Args:
        text: The cell, as HTML.
        details: Plain text.
        element: Id of the details on the page.
    """
    # Beside the cell's text and not in it, so that a screen reader says them once, as its description.
    return (
        f'<span tabindex="0" aria-describedby="{element}">{text}</span>'
        f'<span class="cell-details" role="tooltip" id="{element}" hidden>{html.escape(details, quote=False)}</span>'
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
        _several(record.data.description for record in found),
        f"seeds {span}" if len(seeds) > 1 else f"seed {seeds[0]}",
        *_machine_and_commit(found),
        dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
    ]
    return f"{label}: {' · '.join(part for part in parts if part)}."


def made_by(cell: Cell, found: Sequence[Record], column: Column) -> str:
    """Return in one line what is behind a measured cell: seeds, interval, profile, data, device and commit.

    Args:
        cell: The values.
        found: The records that they are from.
        column: The cell's column, for its unit and digits.
    """
    good = statistics.finite(cell.values.values())
    mean, half = statistics.interval(good)
    low, high = (number(end, math.nan, column.unit, column.digits) for end in (mean - half, mean + half))
    parts = [
        f"n = {len(good)}" + f" of {len(cell.values)} runs" * (len(good) < len(cell.values)),
        "no interval" if math.isnan(half) else f"95 % interval {low} to {high}",
        f"profile {cell.profile}",
        _several(r.data.name + " (stand-in)" * (r.data.kind == "stand-in") for r in found),
        *_machine_and_commit(found),
    ]
    return " · ".join(parts)


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


def _several(values: Iterable[str]) -> str:
    return " / ".join(sorted(set(values)))


def _machine_and_commit(found: Sequence[Record]) -> list[str]:
    commits = _several(
        (r.source.commit[:7] if r.source.commit else "no commit") + ("+changes" if r.source.dirty else "")
        for r in found
    )
    return [_several(map(_machine, found)), commits if commits == "no commit" else f"commit {commits}"]


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
