"""Records, papers and verdicts -> tables in notebooks, and the parts of the book's pages that are made from records."""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
from IPython.display import HTML

from mtlutils import claims, folders, papers, reproduction, statistics
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
    notes = [_reproduced_from(best)] if best.cells else [_how_to_fill(table)]
    if {record.key for record in this_run.all_records()} <= {record.key for record in best.all_records()}:
        notes.append("This run loaded the records that the column “reproduced” shows.")
    else:
        sources["this run"] = this_run
        notes.append(_provenance(f"This run (profile {profile})", this_run.all_records()))
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
    labels = [*_rows(table).values(), *(f"{row} (not in the paper)" for row in extra)]
    standin = any(record.data.kind == "stand-in" for record in this_run.all_records()) and "this run" in sources
    caption = (
        f"{table.label} of {_cite(paper)}. {table.caption} Unit: {table.unit}. Measured: mean over seeds "
        "± half the 95 % interval of the mean. Bold: best; italic and underlined: second best, each among the paper's "
        "rows."
        + (" “This run” is on a stand-in, not on the paper's data: it cannot be compared with the others." * standin)
    )
    return box(pd.DataFrame(text, index=labels), caption, notes, pd.DataFrame(marks, index=labels), table_id)


def verdicts(paper: Paper, table_id: str) -> HTML:
    """Show what the committed records say about each of the paper's claims on a table."""
    table = paper.table(table_id)
    best = reproduction.reproduced(table)
    found = claims.evaluate(paper, table_id, _published_cells(table, best))
    rows = [
        {
            "claim": html.escape(verdict.statement),
            "verdict": _badge(verdict.verdict),
            "why": html.escape(verdict.reason)
            + ("" if verdict.holds_in_paper else " <strong>The paper's own table contradicts the claim.</strong>"),
        }
        for verdict in found
    ]
    caption = (
        f"Claims of {_cite(paper)} on {table.label}. Paired over seeds, exact sign-flip permutation test, Holm's "
        "correction over the table, at a level of 5 %; intervals cover all comparisons of the table together."
    )
    notes = [_reproduced_from(best)] if best.cells else [_how_to_fill(table)]
    return box(pd.DataFrame(rows).set_index("claim"), caption, notes, uuid=f"{table_id}-claims")


def costs(groups: Mapping[str, Sequence[Record]]) -> HTML:
    """Show the time of the weighting call by method and number of tasks, and relative to equal weights.

    Args:
        groups: Heading -> records of ``weighting_cost``; a table each.
    """
    return HTML("".join(_costs(heading, found) for heading, found in groups.items()))


def sources(groups: Mapping[str, Sequence[Record]]) -> str:
    """Return, for each group of records in a figure, where its numbers come from."""
    return " ".join(_provenance(heading, list(found)) for heading, found in groups.items())


def _costs(heading: str, found: Sequence[Record]) -> str:
    methods = list(dict.fromkeys(record.method for record in found))
    columns: dict[tuple[str, str], list[str]] = {}
    for n_tasks in sorted({int(str(record.parameters["n_tasks"])) for record in found}):
        each = {m: [r.metrics for r in found if r.method == m and r.parameters["n_tasks"] == n_tasks] for m in methods}
        for name, metric, unit in (("time", "seconds/median", "s"), ("ratio to equal", "ratio/median", "")):
            columns[f"{n_tasks} tasks", name] = [
                number(*statistics.interval(metrics[metric] for metrics in each[method]), unit) for method in methods
            ]
    caption = (
        f"{heading}: time of one weighting call, losses in and total out. Each measurement is the median of its "
        "rounds, and each ratio that of the same rounds; shown: mean over measurements ± half the 95 % interval of the "
        "mean."
    )
    return box(pd.DataFrame(columns, index=methods), caption, [_provenance(heading, found)], uuid="costs").data


def box(
    frame: pd.DataFrame, caption: str, notes: Iterable[str], classes: pd.DataFrame | None = None, uuid: str = "table"
) -> HTML:
    """Show a table with its caption and, below it, lines on where its numbers come from.

    Args:
        frame: The cells, as text.
        caption: What the table shows.
        notes: Lines of text.
        classes: A style class a cell.
        uuid: Makes the table's element ids.
    """
    styler = frame.style.set_caption(html.escape(caption, quote=False)).set_uuid(uuid)
    if classes is not None:
        styler = styler.set_td_classes(classes)
    below = "".join(f'<p class="provenance">{html.escape(note, quote=False)}</p>' for note in notes)
    return HTML(f'<div class="table-box" tabindex="0">{styler.to_html()}{below}</div>')


def write_fragments(folder: Path) -> None:
    """Write the parts of the book's pages that are made from papers and records, as MyST files, to ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    loaded = [papers.load(name) for name in papers.names()]
    (folder / "scoreboard.md").write_text(_scoreboard(loaded), encoding="utf-8")
    for paper in loaded:
        (folder / f"{paper.key}-protocol.md").write_text(_protocol(paper), encoding="utf-8")


def _scoreboard(loaded: list[Paper]) -> str:
    rows, records = [], []
    for paper in loaded:
        for table in paper.tables:
            best = reproduction.reproduced(table)
            records += best.all_records()
            cells = _published_cells(table, best)
            agree = sum(bool(statistics.predicts(c.values.values(), table.value(*key))) for key, c in cells.items())
            found = [verdict.verdict for verdict in claims.evaluate(paper, table.id, cells)]
            counts = ", ".join(f"{found.count(name)} {name}" for name in dict.fromkeys(sorted(found)))
            exists = (folders.project() / table.notebook).is_file()
            label = f"[{table.label}](../{table.notebook})" if exists else f"{table.label} (no chapter yet)"
            n_cells = len(table.rows) * len(table.columns)
            rows.append(
                [f"{{cite:t}}`{paper.bibtex}`", label, table.caption, f"{len(cells)} of {n_cells}", f"{agree}", counts]
            )
    header = ["Paper", "Table", "What it shows", "Cells measured", "Cells agreeing", "Claims"]
    note = _provenance("All of them", records) if records else "No records yet."
    caption = (
        "For each published table: how many of its cells were measured on real data, in how many of those the paper's "
        "value lies within the 95 % prediction interval of one more run of ours, and what became of its claims."
    )
    return f"::::{{div}} table-box\n{_list_table(caption, header, rows)}\n:::{{div}} provenance\n{note}\n:::\n::::\n"


def _protocol(paper: Paper) -> str:
    gaps = [[gap.topic, gap.paper, gap.chosen, gap.why] for gap in paper.gaps]
    return _list_table(
        "What the paper leaves open, and what was chosen here.", ["Topic", "Paper", "Here", "Why"], gaps, "reference"
    )


def _list_table(caption: str, header: list[str], rows: list[list[str]], css: str = "") -> str:
    lines = [f"```{{list-table}} {caption}", ":header-rows: 1", *([f":class: {css}"] if css else []), ""]
    for row in [header, *rows]:
        lines += [f"{'* -' if i == 0 else '  -'} {' '.join(cell.split())}" for i, cell in enumerate(row)]
    return "\n".join([*lines, "```", ""])


def _rows(table: Table) -> dict[str, str]:
    return {row.id: row.label for row in table.rows}


def _published_cells(table: Table, found: Measured) -> dict[Key, claims.Cell]:
    return {key: cell for key, cell in found.cells.items() if key[0] in _rows(table)}


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
    """Write a mean and half its interval; seconds below a millisecond in microseconds."""
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


def _reproduced_from(found: Measured) -> str:
    profiles = ", ".join(sorted({cell.profile for cell in found.cells.values()}))
    return _provenance(f"Reproduced (profile {profiles})", found.all_records())


def _how_to_fill(table: Table) -> str:
    return f"Not reproduced yet: `make book PROFILE=cpu` trains what {table.notebook} needs, given the data set."


def _provenance(label: str, found: Sequence[Record]) -> str:
    if not found:
        return f"{label}: no records."

    def several(values: Iterable[str]) -> str:
        return " / ".join(sorted(set(values)))

    seeds = sorted({record.seed for record in found})
    span = f"{seeds[0]}–{seeds[-1]}" if seeds == list(range(seeds[0], seeds[-1] + 1)) else ", ".join(map(str, seeds))
    commits = several((r.source.commit or "no commit")[:7] + ("+changes" if r.source.dirty else "") for r in found)
    dates = sorted({record.started.date().isoformat() for record in found})
    parts = [
        several(record.data.description for record in found),
        _settings([record.parameters for record in found]),
        f"seeds {span}" if len(seeds) > 1 else f"seed {seeds[0]}",
        several(
            f"{r.environment.device}, {r.environment.threads} thread(s), torch {r.environment.versions['torch']}"
            for r in found
        ),
        f"commit {commits}",
        dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}",
    ]
    return f"{label}: {' · '.join(part for part in parts if part)}."


def _settings(parameters: list[Mapping[str, object]]) -> str:
    """The settings that all of the records have alike."""
    first = parameters[0]
    alike = [name for name in first if all(name in each and each[name] == first[name] for each in parameters)]
    return ", ".join(f"{name} {json.dumps(first[name])}" for name in alike if name not in {"tasks", "data"})
