"""Records, papers and verdicts -> the tables in notebooks."""

import html
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import pandas as pd
from IPython.display import HTML

from mtlutils import claims, figures, profiles, reproduction, statistics
from mtlutils.papers import Paper, Table
from mtlutils.records import Record
from mtlutils.reproduction import Key, Measured


def comparison(paper: Paper, table_id: str, this_run: Measured, profile: str) -> HTML:
    """Show a published table, cell by cell: published | reproduced | this run.

    Args:
        paper: The paper.
        table_id: The table.
        this_run: What the notebook has just measured or loaded.
        profile: What its settings are called.
    """
    table = paper.table(table_id)
    best = reproduction.reproduced(table)
    sources = {"published": None, "reproduced": best}
    notes = [_reproduced_from(table, best)]
    settings = {"reproduced": best.all_records()}
    if {record.key for record in this_run.all_records()} <= {record.key for record in best.all_records()}:
        notes.append("This run loaded the records that the column “reproduced” shows.")
    else:
        sources["this run"] = this_run
        notes.append(provenance(f"This run (profile {profile})", this_run.all_records()))
        settings["this run"] = this_run.all_records()
    notes += [f"Left out: {problem}" for problem in best.problems]

    extra = [row for row in dict.fromkeys(key[0] for key in [*best.cells, *this_run.cells]) if row not in _rows(table)]
    text, marks = {}, {}
    for column in table.columns:
        for source, what in sources.items():
            values = {row: _cell(table, (row, column.id), what) for row in [*_rows(table), *extra]}
            order = _ranking(table, column.id, what)
            text[column.label, source] = [values[row] for row in values]
            marks[column.label, source] = [
                "best" if order[:1] == [row] else "second-best" if order[1:2] == [row] else "" for row in values
            ]
    labels = [*_rows(table).values(), *(f"{row} *" for row in extra)]
    caption = f"{table.label} of {_cite(paper)}. {table.caption}"
    standin = "this run" in sources and any(record.data.kind == "stand-in" for record in this_run.all_records())
    legend = (
        f"Unit: {table.unit}. Measured: mean over seeds ± half the 95 % interval of the mean. Bold: best; italic and "
        "underlined: second best, each among the paper's rows."
        + " * is not in the paper's table." * bool(extra)
        + " “This run” is on a stand-in, not on the paper's data: it cannot be compared with the others." * standin
    )
    frame, classes = pd.DataFrame(text, index=labels), pd.DataFrame(marks, index=labels)
    return box(frame, (caption, legend), notes, _settings(settings), classes, table_id)


def verdicts(paper: Paper, table_id: str) -> HTML:
    """Show what the committed records say about each of the paper's claims on a table."""
    table = paper.table(table_id)
    best = reproduction.reproduced(table)
    found = claims.evaluate(paper, table_id, best.published(table))
    rows = [
        {
            "claim": html.escape(verdict.statement),
            "verdict": _badge(verdict.verdict),
            "why": html.escape(verdict.reason)
            + ("" if verdict.holds_in_paper else " <strong>The paper's own table contradicts the claim.</strong>"),
        }
        for verdict in found
    ]
    caption = f"Claims of {_cite(paper)} on {table.label}."
    legend = (
        "Paired over seeds; exact sign-flip permutation test with Holm's correction over the table, level 5 %; "
        "the intervals cover all comparisons of the table together."
    )
    frame = pd.DataFrame(rows)
    return box(frame, (caption, legend), [_reproduced_from(table, best)], uuid=f"{table_id}-claims", index=False)


def variants(
    table: Table,
    groups: Mapping[str, Sequence[Record]],
    label: Callable[[Record], tuple[str, str] | None],
    caption: str,
    extra: Mapping[str, str] | None = None,
) -> HTML:
    """Show variants of a method, a column each, and their lead over the first, paired over seeds.

    Args:
        table: Its columns, in its unit, are the rows.
        groups: Heading -> records; a table each.
        label: Section of rows, and variant, of a record; None leaves a record out.
        caption: What the variants are.
        extra: Further rows: label -> name of a curve, whose mean over epochs is shown.
    """
    return HTML("".join(_variants(table, *group, label, caption, extra or {}) for group in groups.items()))


def _variants(
    table: Table,
    heading: str,
    found: Sequence[Record],
    label: Callable[[Record], tuple[str, str] | None],
    caption: str,
    extra: Mapping[str, str],
) -> str:
    labelled = [(place, record) for record in found if (place := label(record)) is not None]
    sections, names = (list(dict.fromkeys(place[i] for place, _ in labelled)) for i in (0, 1))
    # (section, row) -> variant -> seed -> value
    values: dict[tuple[str, str], dict[str, dict[int, float | None]]] = {
        (section, row): {name: {} for name in names}
        for section in sections
        for row in [*(column.label for column in table.columns), *extra]
    }
    for (section, name), record in labelled:
        for column in table.columns:
            metric = record.metrics[table.metric_key(column.id)]
            values[section, column.label][name][record.seed] = table.in_unit(metric)
        for row, curve in extra.items():
            values[section, row][name][record.seed] = statistics.interval(record.curves[curve])[0]
    text: dict[tuple[str, str], list[str]] = {}
    for name in names:
        text[name, "mean"] = [number(*statistics.interval(each[name].values()), "") for each in values.values()]
        if name != names[0]:
            text[name, "lead"] = [
                "" if row in extra else _lead(each[name], each[names[0]]) for (_, row), each in values.items()
            ]
    first = [section if i % (len(values) // len(sections)) == 0 else "" for i, (section, _) in enumerate(values)]
    rows = [row for _, row in values]
    index = pd.MultiIndex.from_arrays([first, rows]) if any(sections) else pd.Index(rows)
    legend = (
        f"Unit: {table.unit}. Mean over seeds ± half the 95 % interval of the mean. Lead: over {''.join(names[:1])}, "
        "paired over seeds; its interval is for this one comparison."
    )
    uuid = re.sub(r"\W+", "-", f"{caption} {heading}".lower()).strip("-")
    used = [record for _, record in labelled]
    notes = [provenance(heading, used)]
    return box(
        pd.DataFrame(text, index=index), (f"{caption} {heading}.", legend), notes, _settings({heading: used}), uuid=uuid
    ).data


def _lead(values: Mapping[int, float | None], others: Mapping[int, float | None]) -> str:
    pairs = [(values[seed], others[seed]) for seed in values if seed in others]
    leads = [a - b for a, b in pairs if a is not None and b is not None]
    mean, half = statistics.interval(leads)
    if math.isnan(mean):
        return "–"
    return f"{mean:+.2f}" + ("" if math.isnan(half) else f" ± {half:.2f}")


def costs(groups: Mapping[str, Sequence[Record]]) -> HTML:
    """Show the time of the weighting call by method and number of tasks, and relative to equal weights.

    Args:
        groups: Heading -> records of ``weighting_cost``; a table each.
    """
    return HTML("".join(_costs(heading, found) for heading, found in groups.items()))


def cost_shares(groups: Mapping[str, Sequence[Record]], experiment: str) -> HTML:
    """Show the time of a weighting call relative to a training step with equal weights, where both are known.

    Args:
        groups: Heading -> records of ``weighting_cost``; a column each, of those with the tasks of the experiment.
        experiment: Name of the experiment whose committed records give the time of a step.
    """
    parameters = profiles.parameters("cpu", experiment)
    found = reproduction.committed(experiment, parameters) if parameters else []
    steps = [record for record in found if record.method == "equal"]
    if not steps:
        return HTML("<p>There are no committed records of training steps to compare with.</p>")
    seconds, _ = statistics.interval(record.timing.seconds_per_step for record in steps)
    n_tasks = len(figures.tasks_of(steps[0]))
    columns: dict[str, dict[str, str]] = {}
    for heading, calls in groups.items():
        for method in figures.methods_of(calls):
            each = [r.metrics for r in calls if r.method == method and r.parameters["n_tasks"] == n_tasks]
            call, _ = statistics.interval(metrics["seconds/median"] for metrics in each)
            columns.setdefault(heading, {})[method] = f"{call / seconds:.1%}" if each else "–"
    caption = "Time of a weighting call as a share of a training step of the network on AG News."
    legend = f"Both are means over seeds. A step with equal weights takes {seconds * 1e3:.2f} ms."
    notes = [*(provenance(*group) for group in groups.items()), provenance("Steps", steps)]
    return box(pd.DataFrame(columns), (caption, legend), notes, uuid="shares")


def sources(groups: Mapping[str, Sequence[Record]]) -> str:
    """Return, for each group of records in a figure, where its numbers come from."""
    return " ".join(provenance(heading, list(found)) for heading, found in groups.items())


def _costs(heading: str, found: Sequence[Record]) -> str:
    methods = figures.methods_of(found)
    columns: dict[tuple[str, str], list[str]] = {}
    for n_tasks in sorted({int(str(record.parameters["n_tasks"])) for record in found}):
        each = {m: [r.metrics for r in found if r.method == m and r.parameters["n_tasks"] == n_tasks] for m in methods}
        for name, metric, unit in (("time", "seconds/median", "s"), ("ratio to equal", "ratio/median", "")):
            columns[f"{n_tasks} tasks", name] = [
                number(*statistics.interval(metrics[metric] for metrics in each[method]), unit) for method in methods
            ]
    caption = f"{heading}: time of one weighting call, losses in and total out."
    legend = (
        "A measurement is the median of its rounds, and its ratio that of the same rounds. Shown: mean over "
        "measurements ± half the 95 % interval of the mean."
    )
    frame = pd.DataFrame(columns, index=methods)
    return box(frame, (caption, legend), [provenance(heading, found)], _settings({heading: found}), uuid="costs").data


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
    below = "".join(f'<p class="provenance">{html.escape(note, quote=False)}</p>' for note in notes)
    return HTML(f'<div class="table-box" tabindex="0">{styler.to_html()}{below}{details}</div>')


def provenance(label: str, found: Sequence[Record]) -> str:
    """Return one line on where numbers come from: data, seeds, device, code and date.

    Args:
        label: What the line begins with.
        found: The records behind the numbers.
    """
    if not found:
        return f"{label}: no records."

    def several(values: Iterable[str]) -> str:
        return " / ".join(sorted(set(values)))

    seeds = sorted({record.seed for record in found})
    span = f"{seeds[0]}–{seeds[-1]}" if seeds == list(range(seeds[0], seeds[-1] + 1)) else ", ".join(map(str, seeds))
    commits = several(
        (r.source.commit[:7] if r.source.commit else "no commit") + ("+changes" if r.source.dirty else "")
        for r in found
    )
    dates = sorted({record.started.date().isoformat() for record in found})
    parts = [
        several(record.data.description for record in found),
        f"seeds {span}" if len(seeds) > 1 else f"seed {seeds[0]}",
        several(_machine(record) for record in found),
        f"commit {commits}",
        dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
    ]
    return f"{label}: {' · '.join(part for part in parts if part)}."


def _rows(table: Table) -> dict[str, str]:
    return {row.id: row.label for row in table.rows}


def _cell(table: Table, key: Key, source: Measured | None) -> str:
    if source is None:
        return table.printed(*key) if key[0] in _rows(table) else "–"
    cell = source.cells.get(key)
    if cell is None:
        return "–"
    good = statistics.finite(cell.values.values())
    diverged = (
        f" ({len(cell.values) - len(good)} of {len(cell.values)} diverged)" if len(good) < len(cell.values) else ""
    )
    return number(*statistics.interval(good), table.unit) + diverged if good else "diverged"


def number(mean: float, half: float, unit: str) -> str:
    """Write a mean and half its interval, a dash if there is none; seconds below a millisecond in microseconds."""
    if math.isnan(mean):
        return "–"
    if unit == "s" and mean < 1e-3:
        mean, half, digits, suffix = mean * 1e6, half * 1e6, 1, " µs"
    else:
        digits, suffix = 2, ""
    spread = "" if math.isnan(half) else f" ± {half:.{digits}f}"
    return f"{mean:.{digits}f}{spread}{suffix}"


def _ranking(table: Table, column: str, source: Measured | None) -> list[str]:
    if source is None:
        return table.ranking(column) if any(row.bold for row in table.rows) else []
    means = {
        row: statistics.interval(source.cells[row, column].values.values())[0]
        for row in _rows(table)
        if (row, column) in source.cells
    }
    good = [row for row, mean in means.items() if not math.isnan(mean)]
    return sorted(good, key=lambda row: means[row], reverse=table.direction == "higher") if len(good) > 2 else []


def _badge(verdict: str) -> str:
    return f'<span class="verdict verdict-{verdict.replace(" ", "-")}">{verdict}</span>'


def _cite(paper: Paper) -> str:
    names = " & ".join(author.split()[-1] for author in paper.authors)
    return f"{names} {paper.year}"


def _reproduced_from(table: Table, found: Measured) -> str:
    if not found.cells:
        return f"Not reproduced yet: `make book PROFILE=cpu` trains what {table.notebook} needs, given the data set."
    profiles = ", ".join(sorted({cell.profile for cell in found.cells.values()}))
    return provenance(f"Reproduced (profile {profiles})", found.all_records())


def _machine(record: Record) -> str:
    on = record.environment
    return f"{on.device}, {on.threads} thread{'s' * (on.threads > 1)}, torch {on.versions['torch']}"


def _settings(groups: Mapping[str, Sequence[Record]]) -> str:
    """The settings that all records of a group have alike, folded away."""
    lines = []
    for heading, found in groups.items():
        each = [record.parameters for record in found]
        alike = [name for name in each[0] if all(one.get(name, ...) == each[0][name] for one in each)] if each else []
        values = ", ".join(f"{name} {json.dumps(each[0][name])}" for name in alike if name not in {"tasks", "data"})
        lines += [f"<p>{html.escape(f'{heading}: {values}', quote=False)}</p>"] if values else []
    return f'<details class="provenance"><summary>Settings</summary>{"".join(lines)}</details>'
