"""The ledger's entries -> its page's table, and the tallies of the scoreboard, as HTML."""

import html
import re
import tomllib
from collections.abc import Iterable
from typing import get_args

from mtlutils import folders
from mtlutils.claims import Decision
from mtlutils.comparisons import Comparison
from mtlutils.ledger import Entry, counts
from mtlutils.report.box import cite, provenance
from mtlutils.report.published import badge, claim_anchor, in_paper, table_anchor

VERDICTS: tuple[Decision, ...] = get_args(Decision)
"""Every verdict, in the order in which they are sorted."""

# The verdict before the claim: a phone has room for the first three.
_HEADER = ["Paper", "Table", "Verdict", "Claim", "Effect", "n", "Data", "Reason", "Runs"]


def ledger(found: list[Entry]) -> str:
    """Return the ledger as one HTML table, a row a claim, with the filters that a script brings to life.

    The id of a paper's first cell is the paper's key, and that of a row is ``PAPER/CLAIM``: a link to either finds it
    with the script and without. A cell's ``data-sort`` is what it is sorted by, where that is not its text.

    Args:
        found: The entries, by paper and table.
    """
    url = tomllib.loads((folders.project() / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]
    papers = list(dict.fromkeys(entry.paper.key for entry in found))
    firsts = {key: next(entry for entry in found if entry.paper.key == key) for key in papers}
    rows = [_row(entry, entry is firsts[entry.paper.key], url["Repository"]) for entry in found]
    used = {record.key: record for entry in found for record in entry.measured.all_records()}
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADER)
    return "\n".join(
        [
            '<form class="ledger-filters" hidden>',
            f"<label>Paper {_select('paper', {key: cite(firsts[key].paper) for key in papers})}</label>",
            f"<label>Verdict {_select('verdict', {name: name for name in VERDICTS})}</label>",
            '<label>Text <input type="search" name="text" autocomplete="off"></label>',
            '<button type="reset">Show all</button>',
            "</form>",
            f'<p role="status" class="ledger-count">{len(found)} claims</p>',
            '<div class="table-box" tabindex="0">',
            '<table class="ledger"><caption>What became of every claim. <span class="legend">Effect: of the comparison '
            "by which the verdict goes, with its simultaneous 95 % interval; sorted by how far it goes as claimed, in "
            "multiples of half the interval, since units differ. n: the fewest seeds in any comparison of the "
            "claim.</span></caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *rows,
            "</tbody></table>",
            f'<p class="provenance">{html.escape(provenance("All of them", list(used.values())), quote=False)}</p>',
            "</div>",
            "",
        ]
    )


def tally(found: Iterable[Entry], key: str) -> str:
    """Return how often there is which verdict, in words and as a bar, as one link to the paper's part of the ledger.

    Args:
        found: Entries of one paper.
        key: The paper's.
    """
    there = counts(found)
    if not there:
        return "–"
    words = " ".join(badge(name, f"{count} {name}") for name, count in there.items())
    parts = "".join(
        f'<span class="verdict-{name.replace(" ", "-")}" style="flex-grow: {count}"></span>'
        for name, count in there.items()
    )
    return f'<a class="tally" href="ledger.html#{key}">{words}<span class="bar" aria-hidden="true">{parts}</span></a>'


def _row(entry: Entry, is_first: bool, repository: str) -> str:
    verdict, chapter = entry.verdict, _chapter(entry)
    anchors = [table_anchor(entry.paper, entry.table.id), claim_anchor(entry.paper, entry.table.id, verdict.claim)]
    table, statement = (
        f'<a href="{chapter}#{anchor}">{text}</a>' if chapter else text
        for anchor, text in zip(anchors, map(html.escape, (entry.table.label, verdict.statement)), strict=True)
    )
    start = f'<td id="{entry.paper.key}">' if is_first else "<td>"
    cells = [
        f"{start}{html.escape(cite(entry.paper))}</td>",
        f"<td>{table}</td>",
        f'<td data-sort="{VERDICTS.index(verdict.verdict)}">{badge(verdict.verdict)}</td>',
        f'<th scope="row">{statement}</th>',
        _effect(entry),
        f"<td>{verdict.n}</td>",
        f"<td>{html.escape(_data(entry)) or '–'}</td>",
        f"<td>{html.escape(_typeset(verdict.reason))}{in_paper(verdict)}</td>",
        f"<td>{_sources(entry, repository)}</td>",
    ]
    about = f'id="{entry.id}" data-paper="{entry.paper.key}" data-verdict="{verdict.verdict}"'
    return f"<tr {about}>{''.join(cells)}</tr>"


def _data(entry: Entry) -> str:
    return ", ".join([*entry.data, *(f"profile {name}" for name in entry.verdict.profiles)])


def _effect(entry: Entry) -> str:
    found = entry.deciding
    if found is None or found.effect is None:
        return '<td data-sort="">–</td>'
    unit = entry.table.column(found.column).unit
    style, unit = ("{:.3g}", "×") if found.ratio else ("{:+.3g}", "points" if unit == "%" else unit)
    text = f"{style.format(found.natural(found.effect))} {unit}".rstrip()
    if found.interval:
        text += " [{}]".format(", ".join(style.format(end) for end in sorted(map(found.natural, found.interval))))
    rows = f"{entry.table.row(found.row).label} against {entry.table.row(found.other).label}"
    about = f'<span class="about">{html.escape(f"{rows}, {entry.table.column(found.column).label}")}</span>'
    return f'<td data-sort="{_clearness(found)}">{html.escape(_typeset(text))} {about}</td>'


def _clearness(found: Comparison) -> str:
    """The effect in units of half its interval, which compares across the columns' units; empty: no interval."""
    if found.effect is None or found.interval is None:
        return ""
    half = max(found.interval[1] - found.effect, 1e-9)  # 0 where all seeds have one difference
    # On its own scale an effect is positive where it goes as claimed, whichever direction is better.
    return f"{(found.effect + found.margin) / half:.6g}"


def _typeset(text: str) -> str:
    """Numbers with a minus sign, where a terminal has a hyphen."""
    return re.sub(r"(?<!\w)-(?=\d)", "−", text)


def _sources(entry: Entry, repository: str) -> str:
    links = []
    if n := len(entry.records):
        folder = f"{repository}/tree/main/results/{entry.table.experiment}"
        links.append(f'<a href="{folder}">{n} record{"s" * (n > 1)}</a>')
    if _chapter(entry):
        links.append(f'<a href="{repository}/blob/main/{entry.table.notebook}">notebook</a>')
    return ", ".join(links) or "–"


def _chapter(entry: Entry) -> str:
    """Address of the table's chapter from the ledger's; empty: it has none yet."""
    exists = (folders.project() / entry.table.notebook).is_file()
    return f"../{entry.table.notebook.replace('.ipynb', '.html')}" if exists else ""


def _select(name: str, options: dict[str, str]) -> str:
    all_of_them = {"": "all"} | options
    inside = "".join(f'<option value="{value}">{html.escape(text)}</option>' for value, text in all_of_them.items())
    return f'<select name="{name}">{inside}</select>'
