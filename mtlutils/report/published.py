"""A published table beside what was measured, and its claims beside their verdicts."""

import html
import math
from collections import Counter

import pandas as pd
from IPython.display import HTML

from mtlutils import claims, profiles, reproduction, statistics
from mtlutils.claims import Verdict
from mtlutils.papers import Paper, Table
from mtlutils.report.box import box, cite, headings, measured_cell, number, provenance, settings_of, several, units
from mtlutils.reproduction import PROFILES, Key, Measured


def comparison(paper: Paper, table_id: str, this_run: Measured, profile: str) -> HTML:
    """Show a published table, cell by cell: published | reproduced | this run.

    A measured cell says on hover and keyboard focus what is behind it: see :func:`mtlutils.report.box.measured_cell`.
    Of a figure that prints no numbers there is nothing published to show.

    Args:
        paper: The paper.
        table_id: The table.
        this_run: What the notebook has just measured or loaded; without a cell, there is no such column.
        profile: What its settings are called.
    """
    table = paper.table(table_id)
    best = reproduction.reproduced(table)
    sources: dict[str, Measured | None] = {"published": None} if table.prints_numbers else {}
    sources["reproduced"] = best
    notes = [_reproduced_from(table, best)]
    settings = {"reproduced": best.all_records()}
    loaded = {record.key for record in this_run.all_records()}
    if loaded and loaded <= {record.key for record in best.all_records()}:
        notes.append("This run loaded the records that the column “reproduced” shows.")
    elif loaded:
        sources["this run"] = this_run
        notes.append(provenance(f"This run (profile {profile})", this_run.all_records()))
        settings["this run"] = this_run.all_records()
    notes += [f"Left out: {problem}" for problem in best.problems]

    # Rows beside the paper's are of the main runs; a table whose rows all name a study has none of those.
    others = [*best.cells, *this_run.cells] if any(not row.study for row in table.rows) else []
    extra = [row for row in dict.fromkeys(key[0] for key in others) if row not in _rows(table)]
    text, marks = {}, {}
    heading = headings(table)
    for column in table.columns:
        for source, what in sources.items():
            values = {row: _cell(table, (row, column.id), what) for row in [*_rows(table), *extra]}
            order = _ranking(table, column.id, what)
            text[heading[column.id], source] = [values[row] for row in values]
            marks[heading[column.id], source] = [
                "best" if order[:1] == [row] else "second-best" if order[1:2] == [row] else "" for row in values
            ]
    labels = [*_rows(table).values(), *(f"{row} *" for row in extra)]
    caption = f"{table.label} of {cite(paper)}. {table.caption}"
    standin = "this run" in sources and any(record.data.kind == "stand-in" for record in this_run.all_records())
    legend = (
        f"{units(table)} Measured: mean over seeds ± half the 95 % interval of the mean. Bold: best; italic and "
        "underlined: second best, each among the paper's rows."
        + " * is not in the paper's table." * bool(extra)
        + " The paper draws these as curves and prints no number." * table.label.startswith("Figure")
        + " “This run” is on a stand-in, not on the paper's data: it cannot be compared with the others." * standin
    )
    frame, classes = pd.DataFrame(text, index=labels), pd.DataFrame(marks, index=labels)
    return box(frame, (caption, legend), notes, settings_of(settings), classes, f"{paper.key}-{table_id}")


def verdicts(paper: Paper, table_id: str) -> HTML:
    """Show what the committed records say about each of the paper's claims on a table."""
    table = paper.table(table_id)
    best = reproduction.reproduced(table)
    found = claims.evaluate(paper, table_id, best.published(table))
    notes = {claim.id: claim.note for claim in paper.claims_on(table_id)}
    rows = [
        {
            "claim": html.escape(verdict.statement) + _reading(notes[verdict.claim]),
            "verdict": badge(verdict.verdict),
            "why": html.escape(verdict.reason) + in_paper(verdict),
        }
        for verdict in found
    ]
    caption = f"Claims of {cite(paper)} on {table.label}."
    legend = (
        "Paired over seeds; exact sign-flip permutation test with Holm's correction over the table, level 5 %; "
        "the intervals cover all comparisons of the table together."
    )
    frame = pd.DataFrame(rows)
    uuid = f"{paper.key}-{table_id}-claims"
    return box(frame, (caption, legend), [_reproduced_from(table, best)], uuid=uuid, index=False)


def table_anchor(paper: Paper, table_id: str) -> str:
    """Return the id, in its chapter, of the table that :func:`comparison` shows."""
    return f"T_{paper.key}-{table_id}"  # the Styler's prefix


def claim_anchor(paper: Paper, table_id: str, claim: str) -> str:
    """Return the id, in its chapter, of a claim's cell in the table that :func:`verdicts` shows."""
    row = [each.id for each in paper.claims_on(table_id)].index(claim)
    return f"{table_anchor(paper, table_id)}-claims_row{row}_col0"


def badge(verdict: str, text: str = "") -> str:
    """Return a verdict's badge: a frame, and the verdict or what else is given as its text."""
    return f'<span class="verdict verdict-{verdict.replace(" ", "-")}">{html.escape(text or verdict)}</span>'


def in_paper(verdict: Verdict) -> str:
    """Return a sentence, as HTML, on a claim that the paper's own numbers do not bear out; empty where they do."""
    return {
        True: "",
        False: " <strong>The paper's own table contradicts the claim.</strong>",
        None: " The paper prints no number for it.",
    }[verdict.holds_in_paper]


def _reading(note: str) -> str:
    return f' <span class="reading">How we read it: {html.escape(note)}</span>' if note else ""


def _rows(table: Table) -> dict[str, str]:
    return {row.id: row.label for row in table.rows}


def _cell(table: Table, key: Key, source: Measured | None) -> str:
    if source is None:
        return (table.printed(*key) if key[0] in _rows(table) else None) or "–"
    if key not in source.cells:
        return "–"
    cell, found, column = source.cells[key], source.records[key], table.column(key[1])
    data = several(r.data.name + " (stand-in)" * (r.data.kind == "stand-in") for r in found)
    of = f"profile {cell.profile} · {data}"
    text = _mean(table, key, source)
    return measured_cell(cell.values.values(), found, of, column.unit, column.digits, text=text)


def _mean(table: Table, key: Key, source: Measured) -> str:
    cell = source.cells[key]
    column = table.column(key[1])
    good = statistics.finite(cell.values.values())
    # A run may end well and have no value: it never came to an accuracy whose epoch is asked for.
    lost = Counter(
        "diverged" if record.status == "diverged" else "without a value"
        for record in source.records[key]
        if not statistics.finite([cell.values[record.seed]])
    )
    why = ", ".join(f"{count} of {len(cell.values)} {what}" for what, count in lost.items())
    if not good:
        return why if len(lost) > 1 else next(iter(lost))
    return number(*statistics.interval(good), column.unit, column.digits) + (f" ({why})" if why else "")


def _ranking(table: Table, column: str, source: Measured | None) -> list[str]:
    if source is None:
        return table.ranking(column) if any(row.bold for row in table.rows) else []
    means = {
        row: statistics.interval(source.cells[row, column].values.values())[0]
        for row in _rows(table)
        if (row, column) in source.cells
    }
    higher = table.column(column).direction == "higher"
    good = [row for row, mean in means.items() if not math.isnan(mean)]
    return sorted(good, key=lambda row: means[row], reverse=higher) if len(good) > 2 else []


def _reproduced_from(table: Table, found: Measured) -> str:
    if not found.cells:
        return f"No runs on these data yet: {_to_do(table)}"
    of = ", ".join(sorted({cell.profile for cell in found.cells.values()}))
    return provenance(f"Reproduced (profile {of})", found.all_records())


def _to_do(table: Table) -> str:
    """The command that fills the table, and what it needs: the cheapest profile that has settings, and the data."""
    of_profile = {name: profiles.parameters(name, table.experiment) for name in reversed(PROFILES)}
    written = [name for name, found in of_profile.items() if found is not None and found.get("data") != "stand-in"]
    name = (written or PROFILES[-1:])[0]
    settings = f"profiles/{name}/{table.experiment}.yml"
    command = f"`make book PROFILE={name}` trains what {table.notebook} needs"
    data = f"given {table.data or 'the data set'}, which the page on data says how to get"
    if not written:
        return f"once its settings are written, in {settings}, {command}, {data}."
    return f"{command}, with the settings in {settings}, {data}."
