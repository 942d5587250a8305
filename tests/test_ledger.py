"""The ledger of claims: what it says of each, that it goes round as JSON, and that a flipped verdict is named."""

import gc
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import yaml
from made_up import SETTINGS, accuracy, filling
from scipy import stats

from mtlutils import claims, folders, ledger, papers, records, reproduction
from mtlutils.comparisons import Cell, describe
from mtlutils.errors import InputError
from mtlutils.reproduction import Measured

HUQ = papers.load("huq2022")
TABLE1, TABLE3 = HUQ.table("table1"), HUQ.table("table3")
ROOMS = papers.load("lee2020").table("table3")
METHODS = {"stl": "single_task", "vanilla": "equal", "uncertainty": "uncertainty", "dwa": "dwa", "ours": "adaptive"}


@pytest.fixture(scope="module", autouse=True)
def _quick_garbage_collection():
    # As in test_claims.py: statsmodels collects garbage on every call.
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without records, and with a profile for ten seeds of the methods of Table 3."""
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    profile = {"profile": "cpu", "methods": list(METHODS.values()), "seeds": list(range(10))}
    write_profile(tmp_path, "adaptive_agnews", **profile | SETTINGS)
    reproduction._committed.cache_clear()
    yield tmp_path
    reproduction._committed.cache_clear()


def write_profile(project, experiment, **parameters):
    path = project / "profiles" / "cpu" / f"{experiment}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(parameters))


def agnews(means, n_seeds=10, noise=0.002, seed=0):
    """Records of Table 3's rows about ``means``: row id -> accuracies of the two tasks."""
    rng = np.random.default_rng(seed)
    found = []
    for row, (two, four) in means.items():
        for i in range(n_seeds):
            a, b = two + noise * rng.standard_normal(), four + noise * rng.standard_normal()
            if row == "stl":
                found += [accuracy("single_task", i, a, ...), accuracy("single_task", i, ..., b)]
            else:
                found.append(accuracy(METHODS[row], i, a, b))
    return found


def judged(found):
    """Claim -> entry, of Table 3."""
    return {entry.verdict.claim: entry for entry in ledger.entries(found, {"adaptive_agnews"})}


def published(factor=1.0):
    """Row -> the accuracies that the paper prints, or their mirror image where the factor is -1."""
    return {
        row: [0.8 + factor * (TABLE3.value(row, column.id) / 100 - 0.8) for column in TABLE3.columns] for row in METHODS
    }


# What it says of a claim


def test_every_claim_of_every_paper_has_an_entry_in_order(project):
    claims_of = [
        f"{paper.key}/{claim.id}"
        for paper in papers.every()
        for table in paper.tables
        for claim in paper.claims_on(table.id)
    ]
    found = ledger.entries([])
    assert [entry.id for entry in found] == claims_of
    assert {entry.verdict.verdict for entry in found} == {"not attempted"}
    assert {(entry.deciding, entry.data) for entry in found} == {(None, ())}


@pytest.mark.parametrize("factor", [1.0, -1.0, 0.0])
def test_the_deciding_comparison_is_the_one_that_the_reason_names(project, factor):
    found = judged(agnews(published(factor)))
    assert {entry.verdict.verdict for entry in found.values()} & {"reproduced", "contradicted", "not reproduced"}
    for entry in found.values():
        assert entry.verdict.n >= entry.verdict.n_needed
        assert describe(TABLE3, entry.deciding) in entry.verdict.reason
        assert entry.numbers == f"{describe(TABLE3, entry.deciding)}, n = 10"
        assert entry.data == ("made up",)


def test_the_least_clear_comparison_decides_where_some_are_missing(project):
    means = published()
    del means["dwa"]
    entry = judged(agnews(means))["table3-schemes"]
    assert entry.verdict.verdict == "undecided"
    made = [each for each in entry.verdict.comparisons if each.n]
    assert {each.outcome for each in made} == {"for"}
    assert entry.deciding == max(made, key=lambda each: each.p_adjusted)


def test_few_seeds_say_how_many_are_needed(project):
    found = judged(agnews(published(), n_seeds=3))
    text = ledger.as_text(list(found.values()))
    for entry in found.values():
        assert entry.verdict.verdict == "undecided"
        assert f"takes {entry.verdict.n_needed}, there are 3" in entry.verdict.reason
        (line,) = (line for line in text.splitlines() if line.split()[:1] == [entry.verdict.claim])
        assert line.endswith(f"n = 3 of the {entry.verdict.n_needed} needed, profile cpu, made up")


def test_text_has_a_line_a_claim_and_counts(project):
    found = list(judged(agnews(published())).values())
    lines = ledger.as_text(found).splitlines()
    assert lines[0] == "huq2022, Table 3"
    assert [line.split()[0] for line in lines[1:-2]] == [entry.verdict.claim for entry in found]
    verdicts = [entry.verdict.verdict for entry in found]
    assert lines[-1] == ", ".join(f"{verdicts.count(name)} {name}" for name in sorted(set(verdicts)))


def test_a_measurement_without_data_says_so(project):
    cells = {(row, column.id): [1.0, 2.0] for row in ("ours", "dwa") for column in TABLE1.columns}
    found = [
        filling(TABLE1, row, column, value, seed, kind="none")
        for (row, column), values in cells.items()
        for seed, value in enumerate(values)
    ]
    methods = [TABLE1.row(row).method for row in ("ours", "dwa")]
    write_profile(project, TABLE1.experiment, methods=methods, seeds=[0, 1])
    (close,) = (each for each in ledger.entries(found, {TABLE1.experiment}) if each.verdict.claim == "table1-close")
    assert close.data == ("needs no data",)


# Which records it judges


@pytest.mark.parametrize("table", [TABLE3, ROOMS], ids=["main runs", "with a study"])
def test_given_records_are_judged_as_the_committed_ones(project, table):
    rows = [row for row in table.rows if row.method]
    asked = {f"{row.study}_methods": [row.method] for row in rows if row.study}
    write_profile(project, table.experiment, methods=[row.method for row in rows], seeds=[0, 1], **asked)
    found = [
        filling(table, row.id, column.id, 0.1 + 0.01 * i, seed=seed, kind=kind)
        for i, row in enumerate(rows)
        for column in table.columns
        for seed in (0, 1, 2)  # of which the last is not asked for
        for kind in ("real", "stand-in")
    ]
    for record in found:
        records.write(record, project / "results")
    mine = ledger.entries(found, {table.experiment})
    committed = ledger.entries(None, {table.experiment})
    assert any(entry.verdict.n == 2 for entry in mine)
    assert ledger.as_json(mine) == ledger.as_json(committed)


# The bootstrap


def entry_of(a, b, table=TABLE3, rows=("ours", "vanilla")):
    """An entry whose first comparison of ``rows`` has these values, by seed."""
    column = table.columns[0].id
    cells = {(row, column): Cell(values, "cpu", "real") for row, values in zip(rows, (a, b), strict=True)}
    for verdict in claims.evaluate(HUQ, table.id, cells):
        for asked in verdict.comparisons:
            if (asked.row, asked.other, asked.column) == (*rows, column):
                return ledger.Entry(HUQ, table, verdict, Measured(cells=cells), level=0.05), asked
    raise AssertionError


def test_bootstrap_of_even_differences_is_a_little_shorter_than_students():
    values = dict(enumerate(stats.norm.ppf((np.arange(14) + 0.5) / 14)))
    entry, asked = entry_of(values, dict.fromkeys(values, -1.0))
    low, high = ledger.bootstrap(entry, asked)
    # Normal quantile and population deviation, in place of Student's quantile and the sample's.
    half = stats.norm.ppf(0.975) * np.std(list(values.values())) / math.sqrt(14)
    assert (low, high) == pytest.approx((1 - half, 1 + half), abs=0.05)
    assert (low, high) == ledger.bootstrap(entry, asked)  # the same each time


def test_bootstrap_of_few_skewed_seeds_stays_within_their_range_where_students_does_not():
    values = {0: 0.0, 1: 0.1, 2: 0.2, 3: 5.0}
    entry, asked = entry_of(values, dict.fromkeys(values, 0.0))
    low, high = ledger.bootstrap(entry, asked)
    assert asked.interval[0] < 0 <= low < asked.effect < high <= 5 < asked.interval[1]


def test_bootstrap_takes_seeds_with_both_values_only():
    values = {0: 1.0, 1: 2.0, 2: 4.0}
    expected = ledger.bootstrap(*entry_of(values, dict.fromkeys(values, 0.0)))
    other = dict.fromkeys(range(2, 20), 0.0) | {1: 0.0, 0: 0.0}
    assert ledger.bootstrap(*entry_of(values | {7: None, 8: math.nan}, other)) == expected


def test_bootstrap_of_ratios():
    times = {0: 1.0, 1: 1.5, 2: 1.1, 3: 1.2}
    entry, asked = entry_of(times, dict.fromkeys(times, 2.0), TABLE1, ("ours", "dwa"))
    assert asked.ratio
    low, high = sorted(map(asked.natural, ledger.bootstrap(entry, asked)))
    assert 0.5 <= low < asked.natural(asked.effect) < high <= 0.75


@pytest.mark.parametrize("values", [{0: 1.0}, {0: 1.0, 1: 1.0, 2: 1.0}, {0: 1.0, 1: None}])
def test_no_bootstrap_of_one_value(values):
    entry, asked = entry_of(values, dict.fromkeys(values, 0.3))
    assert asked.n
    assert ledger.bootstrap(entry, asked) is None


# JSON


def test_json_goes_round_and_has_every_comparison(project):
    found = list(judged(agnews(published())).values())
    content = ledger.as_json(found)
    text = ledger.dumps(content)
    assert json.loads(text) == content
    assert list(json.loads(text)) == sorted(content)
    for entry in found:
        each = content[entry.id]
        assert (each["verdict"], each["numbers"]) == (entry.verdict.verdict, entry.numbers)
        assert len(each["comparisons"]) == len(entry.verdict.comparisons)
        for asked, written in zip(entry.verdict.comparisons, each["comparisons"], strict=True):
            assert written["effect"] == pytest.approx(asked.natural(asked.effect), rel=1e-5)
            assert written["interval"][0] < written["effect"] < written["interval"][1]
            assert written["bootstrap"][0] < written["effect"] < written["bootstrap"][1]
            assert written["unit"] == "%"
    lines = text.splitlines()
    assert sum('"bootstrap": [' in line for line in lines) == sum(len(e.verdict.comparisons) for e in found)
    assert all(line.count('"bootstrap"') <= 1 for line in lines)


def test_json_of_nothing_measured_has_nulls(project):
    content = ledger.as_json(ledger.entries([], {"adaptive_agnews"}))
    for claim in content.values():
        for each in claim["comparisons"]:
            assert [each[name] for name in ("effect", "interval", "bootstrap", "p", "p_adjusted")] == [None] * 5
            assert each["missing"]


def test_json_does_not_depend_on_the_order_of_records(project):
    found = agnews(published())
    shuffled = [found[i] for i in np.random.default_rng(0).permutation(len(found))]
    one, other = (ledger.dumps(ledger.as_json(list(judged(each).values()))) for each in (found, shuffled))
    assert one == other


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("{", "not valid JSON"),
        ("[]", "not a ledger"),
        ('{"a/b": {"verdict": "undecided"}}', "not a ledger"),
    ],
)
def test_broken_file_is_named_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "verdicts.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as error:
        ledger.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "`python -m mtlutils claims update`" in str(error.value)
    assert "\n" not in str(error.value)


# Flips


def test_flipped_new_and_vanished_claims_are_named_and_no_others():
    def claim(verdict, numbers):
        return {"verdict": verdict, "numbers": numbers, "n": 3}

    old = {"p/a": claim("undecided", "+1, n = 3"), "p/b": claim("reproduced", "+2"), "p/gone": claim("undecided", "+3")}
    new = {"p/a": claim("reproduced", "+4, n = 9"), "p/b": claim("reproduced", "+9"), "p/new": claim("undecided", "+5")}
    assert list(map(str, ledger.flips(old, new))) == [
        "p/a: undecided (+1, n = 3) -> reproduced (+4, n = 9)",
        "p/gone: undecided (+3) -> none",
        "p/new: none -> undecided (+5)",
    ]
    assert ledger.flips(old, old) == []


def test_needs_no_torch():
    code = "import sys, mtlutils.ledger, mtlutils.differences; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
