"""A published table beside what was measured, and its claims beside their verdicts."""

import html
import math

import pandas as pd
from IPython.display import HTML

from mtlutils import claims, reproduction, statistics
from mtlutils.papers import Paper, Table
from mtlutils.report.box import box, cite, number, provenance, settings_of
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
    caption = f"{table.label} of {cite(paper)}. {table.caption}"
    standin = "this run" in sources and any(record.data.kind == "stand-in" for record in this_run.all_records())
    legend = (
        f"Unit: {table.unit}. Measured: mean over seeds ± half the 95 % interval of the mean. Bold: best; italic and "
        "underlined: second best, each among the paper's rows."
        + " * is not in the paper's table." * bool(extra)
        + " “This run” is on a stand-in, not on the paper's data: it cannot be compared with the others." * standin
    )
    frame, classes = pd.DataFrame(text, index=labels), pd.DataFrame(marks, index=labels)
    return box(frame, (caption, legend), notes, settings_of(settings), classes, table_id)


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
    caption = f"Claims of {cite(paper)} on {table.label}."
    legend = (
        "Paired over seeds; exact sign-flip permutation test with Holm's correction over the table, level 5 %; "
        "the intervals cover all comparisons of the table together."
    )
    frame = pd.DataFrame(rows)
    return box(frame, (caption, legend), [_reproduced_from(table, best)], uuid=f"{table_id}-claims", index=False)


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


def _reproduced_from(table: Table, found: Measured) -> str:
    if not found.cells:
        return f"Not reproduced yet: `make book PROFILE=cpu` trains what {table.notebook} needs, given the data set."
    profiles = ", ".join(sorted({cell.profile for cell in found.cells.values()}))
    return provenance(f"Reproduced (profile {profiles})", found.all_records())
