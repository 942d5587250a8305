"""Papers and records -> the parts of the book's pages that are made from them, as MyST files."""

import math
from pathlib import Path

from mtlutils import (
    folders,
    ledger,
    ledger_page,
    method_index,
    papers,
    provenance_page,
    record_list,
    reproduction,
    statistics,
)
from mtlutils.ledger import Entry
from mtlutils.papers import Paper, Table
from mtlutils.report import provenance


def write(folder: Path, notebooks: Path | None = None) -> None:
    """Write the parts of the book's pages that are made from papers and records, as MyST files.

    Args:
        folder: Where to.
        notebooks: Folder of the executed notebooks; None: there are none.

    Raises:
        InputError: see :func:`mtlutils.provenance_page.listings`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    loaded = papers.every()
    entries = ledger.entries()
    (folder / "scoreboard.md").write_text(_scoreboard(loaded, entries), encoding="utf-8")
    (folder / "tally.md").write_text(_tally(entries), encoding="utf-8")
    (folder / "ledger.md").write_text(ledger_page.ledger(entries), encoding="utf-8")
    (folder / "ledger-untested.md").write_text(_untested(loaded), encoding="utf-8")
    index = method_index.CAPTION, method_index.HEADER, method_index.rows(), method_index.NOTE
    (folder / "methods.md").write_text(_boxed(*index), encoding="utf-8")
    asked = provenance_page.planned()
    record_list.write(folder / "records.csv", entries, asked)
    for name, listing in provenance_page.listings(notebooks, asked).items():
        (folder / f"provenance-{name}.md").write_text(_boxed(*listing), encoding="utf-8")
    for paper in loaded:
        (folder / f"{paper.key}-protocol.md").write_text(_protocol(paper), encoding="utf-8")


def _scoreboard(loaded: list[Paper], entries: list[Entry]) -> str:
    rows, records = [], []
    for paper in loaded:
        for table in paper.tables:
            best = reproduction.reproduced(table)
            records += best.all_records()
            cells = best.published(table)
            printed = {key: c for key, c in cells.items() if not math.isnan(table.value(*key))}
            agree = sum(bool(statistics.predicts(c.values.values(), table.value(*key))) for key, c in printed.items())
            on_it = (entry for entry in entries if (entry.paper.key, entry.table.id) == (paper.key, table.id))
            tally = ledger_page.tally(on_it, paper.key)
            exists = (folders.project() / table.notebook).is_file()
            label = f"[{table.label}](../{table.notebook})" if exists else f"{table.label} (no chapter yet)"
            first_sentence = f"{table.caption.split('. ')[0].removesuffix('.')}."
            n_cells = len(_cells_to_fill(table))
            agreeing = f"{agree}" if printed else "–"
            rows.append(
                [f"{{cite:t}}`{paper.bibtex}`", label, tally, f"{len(cells)} of {n_cells}", agreeing, first_sentence]
            )
    # A phone has room for the first three.
    header = ["Paper", "Table", "Claims", "Cells measured", "Cells agreeing", "What it shows"]
    note = provenance("All of them", records) if records else "No records yet."
    caption = (
        "For each published table: how many of its cells were measured on real data, in how many of those the paper's "
        "value lies within the 95 % prediction interval of one more run of ours, and what became of its claims, each "
        "count with a link to the paper's part of the ledger. Rows "
        "that the paper took from elsewhere, of networks that are not here, do not count; a figure prints no value."
    )
    return _boxed(caption, header, rows, note)


def _tally(entries: list[Entry]) -> str:
    words = [f"{count} *{name}*" for name, count in ledger.counts(entries).items()]
    return f"**So far**, of the {len(entries)} claims that a run here can test: {', '.join(words)}.\n"


def _cells_to_fill(table: Table) -> list[tuple[str, str]]:
    """Row and column of what a run can fill."""
    cells = [(row.id, column.id) for row in table.rows if row.method is not None for column in table.columns]
    return [cell for cell in cells if not (table.prints_numbers and math.isnan(table.value(*cell)))]


def _untested(loaded: list[Paper]) -> str:
    rows = [[f"{{cite:t}}`{paper.bibtex}`", each.statement, each.why] for paper in loaded for each in paper.untested]
    caption = "Claims that no run here tests, in our words."
    return _boxed(
        caption, ["Paper", "Claim", "Why it is not tested"], rows, f"{len(rows)} claims, read from the papers."
    )


def _protocol(paper: Paper) -> str:
    entries = [
        f"{gap.topic}\n: *In the paper*: {gap.paper}\n\n  *Here*: {gap.chosen}\n\n  *Why*: {gap.why}\n"
        for gap in paper.gaps
    ]
    return "\n".join(entries)


def _boxed(caption: str, header: list[str], rows: list[list[str]], note: str) -> str:
    return f"::::{{div}} table-box\n{_list_table(caption, header, rows)}\n:::{{div}} provenance\n{note}\n:::\n::::\n"


def _list_table(caption: str, header: list[str], rows: list[list[str]]) -> str:
    lines = [f"```{{list-table}} {caption}", ":header-rows: 1", ""]
    for row in [header, *rows]:
        lines += [f"{'* -' if i == 0 else '  -'} {' '.join(cell.split())}" for i, cell in enumerate(row)]
    return "\n".join([*lines, "```", ""])
