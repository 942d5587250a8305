"""Verdicts on claims: hand-computed cases, and the statistics' promises on simulated runs."""

import gc
import itertools
import math
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mtlutils import papers
from mtlutils.claims import evaluate, seeds_needed
from mtlutils.comparisons import Cell, comparisons, describe
from mtlutils.errors import InputError

HUQ = papers.load("huq2022")
LEE = papers.load("lee2020")
LIU = papers.load("liu2022")


@pytest.fixture(scope="module", autouse=True)
def _quick_garbage_collection():
    # statsmodels' multipletests collects garbage on every call; what is there by now need not be searched each time.
    gc.freeze()
    yield
    gc.unfreeze()


def paper(rows, claims, direction="higher", compare="difference"):
    """A paper with one table, "t": ``rows`` maps a row to its values; claims are lists of parts."""
    n_columns = len(next(iter(rows.values())))
    table = {
        "id": "t",
        "label": "Table",
        "caption": "A table",
        "unit": "u",
        "direction": direction,
        "compare": compare,
        "experiment": "none",
        "metric": "metric",
        "columns": [{"id": f"c{i}", "label": f"C{i}"} for i in range(n_columns)],
        "rows": [
            {"id": row, "label": row.upper(), "method": row, "printed": [str(value) for value in values]}
            for row, values in rows.items()
        ],
    }
    return papers.Paper.model_validate(
        {
            "key": "paper",
            "bibtex": "paper",
            "title": "Title",
            "authors": ["A"],
            "year": 2000,
            "tables": [table],
            "claims": [
                {"id": f"claim{i}", "table": "t", "sources": ["1"], "statement": "It is so.", "parts": parts}
                for i, parts in enumerate(claims)
            ],
            "untested": [],
            "gaps": [],
            "inconsistencies": [],
        }
    )


def order(row, *others, **more):
    return {"kind": "order", "row": row, "others": list(others), **more}


A_BEATS_B = paper({"a": [2], "b": [1]}, [[order("a", "b")]])


def cell(values, profile="paper", data="real"):
    return Cell(dict(enumerate(values)), profile, data)


def judge(differences, published=A_BEATS_B, **about):
    """The verdict on "a beats b", where a - b is ``differences``."""
    cells = {("a", "c0"): cell(differences, **about), ("b", "c0"): cell([0.0] * len(differences), **about)}
    (verdict,) = evaluate(published, "t", cells)
    return verdict


# Hand-computed cases


@pytest.mark.parametrize(("n_comparisons", "n"), [(1, 6), (6, 8), (16, 10), (35, 11)])
def test_seeds_needed(n_comparisons, n):
    assert seeds_needed(n_comparisons) == n  # 2/2^6 = 0.031; 12/2^8 = 0.047; 32/2^10 = 0.031; 70/2^11 = 0.034


@given(st.integers(1, 1000), st.floats(0.5, 0.999))
def test_seeds_needed_are_the_fewest(n_comparisons, confidence):
    n = seeds_needed(n_comparisons, confidence)
    assert n_comparisons * 2 / 2**n <= (1 - confidence) * (1 + 1e-12)
    assert n_comparisons * 2 / 2 ** (n - 1) > (1 - confidence) * (1 - 1e-12)


@pytest.mark.parametrize(("unit", "compare"), [("difference of ", "difference"), ("factor of ", "ratio")])
def test_an_open_claim_estimates_what_so_many_seeds_find(unit, compare):
    differences = np.array([3.0, -2.5, 2.0, -1.5, 1.0, -0.5, 0.25, -1.75])
    values = np.exp(differences) if compare == "ratio" else differences
    published = paper({"a": [2], "b": [1]}, [[order("a", "b")]], compare=compare)
    (verdict,) = evaluate(
        published, "t", {("a", "c0"): cell(values), ("b", "c0"): cell(values**0 * (compare == "ratio"))}
    )
    assert verdict.verdict == "undecided"
    least = float(re.search(rf"so many seeds find a {unit}([\d.]+)", verdict.reason)[1])
    effect = math.log(least) if compare == "ratio" else least
    drawn = np.random.default_rng(0).normal(effect, differences.std(ddof=1), (20_000, 8))
    assert np.mean(stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("differences", [[0.0] * 6, [1.0, 2.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
def test_no_such_estimate_without_spread_with_few_seeds_or_of_a_clear_claim(differences):
    assert "so many seeds" not in judge(differences).reason


def test_five_seeds_cannot_decide():
    verdict = judge([1.0, 2.0, 3.0, 4.0, 5.0])
    (comparison,) = verdict.comparisons
    assert comparison.p == 2 / 2**5  # one-sided 1/32: no other signs give as large a mean
    assert (verdict.verdict, verdict.n, verdict.n_needed) == ("undecided", 5, 6)
    assert "takes 6, there are 5" in verdict.reason


def test_six_seeds_can():
    verdict = judge([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    (comparison,) = verdict.comparisons
    assert comparison.p == comparison.p_adjusted == 2 / 2**6
    assert verdict.verdict == "reproduced"
    assert (comparison.published, comparison.effect, comparison.n) == (1, 3.5, 6)
    # Standard deviation sqrt(3.5), t quantile 2.5706 with 5 degrees of freedom.
    half = 2.5706 * math.sqrt(3.5 / 6)
    assert comparison.interval == pytest.approx((3.5 - half, 3.5 + half), abs=1e-4)


def test_p_value_by_hand():
    # Of the sums of ±3 ±1 ±1, three of eight (5, 3, 3) are at least 3 + 1 - 1.
    assert judge([3.0, 1.0, -1.0]).comparisons[0].p == 2 * 3 / 8
    assert judge([0.0, 0.0, 0.0]).comparisons[0].p == 1
    assert judge([1.0]).comparisons[0].p == 1  # one seed says nothing


def test_holm_by_hand():
    two = paper({"a": [2, 2], "b": [1, 1]}, [[order("a", "b", columns=["c0"])], [order("a", "b")]])
    up = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    mixed = [
        -1.0,
        -2.0,
        3.0,
        4.0,
        5.0,
        6.0,
        7.0,
        8.0,
    ]  # of the signs, five give as much: flip none, 1, 2, 3, or 1 and 2
    zero = cell([0.0] * 8)
    cells = {("a", "c0"): cell(up), ("a", "c1"): cell(mixed), ("b", "c0"): zero, ("b", "c1"): zero}
    one, both = evaluate(two, "t", cells)
    # The comparison that both claims share is one hypothesis: two in all.
    assert one.comparisons[0].p_adjusted == pytest.approx(2 * 2 / 256)
    assert [each.p for each in both.comparisons] == [2 / 256, 10 / 256]
    assert [each.p_adjusted for each in both.comparisons] == pytest.approx([4 / 256, 10 / 256])
    assert both.verdict == "reproduced"
    # Intervals hold for both comparisons at once (Bonferroni).
    half = stats.t.ppf(1 - 0.05 / 2 / 2, 7) * stats.sem(up)
    assert one.comparisons[0].interval == pytest.approx((np.mean(up) - half, np.mean(up) + half))
    # What was not measured is counted too.
    (one, both) = evaluate(two, "t", {key: cells[key] for key in cells if key[1] == "c0"})
    assert one.comparisons[0].p_adjusted == pytest.approx(2 * 2 / 256)
    assert (one.verdict, both.verdict) == ("reproduced", "undecided")
    assert "1 of 2 comparisons is missing: A has no runs" in both.reason


NONE = [1.0, -1.0, 2.0, -2.0, 3.0, -3.0, 0.5, -0.5]


def test_not_reproduced_where_the_interval_excludes_the_published_effect():
    verdict = judge(NONE, paper({"a": [10], "b": [1]}, [[order("a", "b")]]))
    assert verdict.verdict == "not reproduced"
    assert verdict.comparisons[0].interval[1] < verdict.comparisons[0].published == 9
    assert "The only comparison falls short of the published difference: A against B" in verdict.reason


def test_undecided_where_it_does_not():
    assert judge(NONE).verdict == "undecided"  # published: 1


def test_too_few_seeds_are_undecided_whatever_the_interval():
    verdict = judge([0.1, 0.11, 0.12, 0.1, 0.11])
    assert verdict.comparisons[0].interval[1] < verdict.comparisons[0].published
    assert verdict.verdict == "undecided"


def test_a_claim_that_the_paper_does_not_support_is_never_not_reproduced():
    false = paper({"a": [1], "b": [2]}, [[order("a", "b")]])
    assert not judge(NONE, false).holds_in_paper
    assert judge(NONE, false).verdict == "undecided"
    assert not judge(NONE, paper({"a": [2], "b": [2]}, [[order("a", "b")]])).holds_in_paper  # a tie


def test_one_comparison_contradicts_a_whole_claim():
    both = paper({"a": [2, 2], "b": [1, 1]}, [[order("a", "b")]])
    zero, up = [0.0] * 8, [1.0] * 8
    cells = {("a", "c0"): up, ("b", "c0"): zero, ("a", "c1"): zero, ("b", "c1"): up}
    (verdict,) = evaluate(both, "t", {key: cell(values) for key, values in cells.items()})
    assert verdict.verdict == "contradicted"
    assert [each.outcome for each in verdict.comparisons] == ["for", "against"]
    assert "1 of 2 comparisons goes the other way: A against B, C1, -1 u" in verdict.reason


def test_best_and_rank_take_the_table_apart():
    four = paper(
        {"a": [4], "b": [3], "c": [2], "d": [1]},
        [[{"kind": "best", "row": "a"}], [{"kind": "rank", "row": "b", "rank": 2}], [order("d", "a")]],
    )
    table = four.table("t")
    pairs = [[(each.row, each.other) for each in comparisons(table, claim)] for claim in four.claims]
    assert pairs == [
        [("a", "b"), ("a", "c"), ("a", "d")],
        [("a", "b"), ("b", "c"), ("b", "d")],
        [("d", "a")],
    ]
    best, rank, wrong = evaluate(four, "t", {})
    assert (best.holds_in_paper, rank.holds_in_paper, wrong.holds_in_paper) == (True, True, False)
    # "d beats a" is the same hypothesis as "a beats d": 3 + 2 in all.
    assert best.n_needed == seeds_needed(5)


def test_lower_values_and_ratios():
    fast = paper(
        {"a": [1], "b": [4]},
        [
            [order("a", "b")],
            [{"kind": "within", "row": "b", "others": ["a"], "factor": 5}],
            [{"kind": "within", "row": "b", "others": ["a"], "factor": 2}],
        ],
        direction="lower",
        compare="ratio",
    )
    times = [1.0, 1.1, 0.9, 1.2, 1.0, 0.8, 1.0, 1.0]
    cells = {("a", "c0"): cell(times, data="none"), ("b", "c0"): cell([3 * time for time in times], data="none")}
    beats, within, beyond = evaluate(fast, "t", cells)
    assert [each.verdict for each in (beats, within, beyond)] == ["reproduced", "reproduced", "contradicted"]
    assert [each.holds_in_paper for each in (beats, within, beyond)] == [True, True, False]
    (comparison,) = beats.comparisons
    assert comparison.natural(comparison.effect) == pytest.approx(1 / 3)  # a takes a third of b's time
    assert comparison.natural(comparison.published) == pytest.approx(1 / 4)
    assert "B against A, C0, 3 times [3, 3], published 4, bound 5" in within.reason


def test_within_an_amount():
    near = paper({"a": [10], "b": [9]}, [[{"kind": "within", "row": "b", "others": ["a"], "amount": 2}]])
    for gap, verdict in ((1.0, "reproduced"), (3.0, "contradicted"), (-5.0, "reproduced")):
        cells = {("a", "c0"): cell([gap] * 6), ("b", "c0"): cell([0.0] * 6)}
        (found,) = evaluate(near, "t", cells)
        assert (found.verdict, found.holds_in_paper) == (verdict, True)
        assert found.comparisons[0].effect == -gap


def test_each_column_has_its_own_direction_and_unit_and_way_to_compare():
    content = paper({"a": [4, 1, 1], "b": [3, 4, 4]}, [[order("a", "b")]]).model_dump(mode="json")
    content["tables"][0]["columns"][1] |= {"direction": "lower", "unit": "m"}
    content["tables"][0]["columns"][2] |= {"direction": "lower", "unit": "s", "compare": "ratio"}
    mixed = papers.Paper.model_validate(content)
    table = mixed.table("t")
    found = comparisons(table, mixed.claims[0])
    assert [each.published for each in found] == pytest.approx([1, 3, math.log(4)])
    assert [each.sign for each in found] == [1, -1, -1]
    cells = {(row, f"c{i}"): cell([value] * 8) for row, value in (("a", 1.0), ("b", 3.0)) for i in range(3)}
    (verdict,) = evaluate(mixed, "t", cells)
    assert [each.outcome for each in verdict.comparisons] == ["against", "for", "for"]
    described = [describe(table, each) for each in verdict.comparisons]
    assert described[0].startswith("A against B, C0, -2 u [-2, -2], published +1")
    assert described[1].startswith("A against B, C1, -2 m [-2, -2], published -3")
    assert described[2].startswith("A against B, C2, 0.333 times [0.333, 0.333], published 0.25")


def drawn(values=None):
    """A paper that claims that "a" is ahead of "b" and prints ``values`` of them, or nothing."""
    content = A_BEATS_B.model_dump(mode="json")
    for row, value in zip(content["tables"][0]["rows"], values or [None, None], strict=True):
        row["printed"] = [value]
    return papers.Paper.model_validate(content)


@pytest.mark.parametrize("values", [[None, None], ["2", None], [None, "1"]])
def test_without_published_numbers_the_sign_decides(values):
    found = {shift: judge([shift + each for each in NONE], drawn(values)) for shift in (9.0, 0.0, -9.0)}
    assert [each.verdict for each in found.values()] == ["reproduced", "undecided", "contradicted"]
    for verdict in found.values():
        assert verdict.holds_in_paper is None
        assert verdict.comparisons[0].published is None
        assert "published" not in verdict.reason
    assert judge([], drawn(values)).verdict == "not attempted"


def test_a_claim_fails_in_the_paper_where_any_cell_of_it_does():
    content = paper({"a": [2, 1], "b": [1, 2]}, [[order("a", "b")]]).model_dump(mode="json")
    content["tables"][0]["rows"][0]["printed"] = [None, "1"]
    assert evaluate(papers.Paper.model_validate(content), "t", {})[0].holds_in_paper is False
    content["tables"][0]["rows"][0]["printed"] = [None, "3"]
    assert evaluate(papers.Paper.model_validate(content), "t", {})[0].holds_in_paper is None


# What decides nothing


def test_stand_in_data_decide_nothing():
    verdict = judge([1.0] * 10, data="stand-in")
    assert verdict.verdict == "not attempted"
    assert (verdict.n, verdict.profiles, verdict.comparisons[0].effect) == (0, (), None)
    assert verdict.reason == "Nothing to compare: A has runs on stand-in data only."
    real, drawn = cell([1.0] * 10), cell([0.0] * 10, data="stand-in")
    (verdict,) = evaluate(A_BEATS_B, "t", {("a", "c0"): real, ("b", "c0"): drawn})
    assert verdict.verdict == "not attempted"


def test_no_cells_is_not_attempted():
    for table in HUQ.tables:
        verdicts = evaluate(HUQ, table.id, {})
        assert [each.claim for each in verdicts] == [claim.id for claim in HUQ.claims_on(table.id)]
        assert {each.verdict for each in verdicts} == {"not attempted"}


def test_measurements_without_data_decide():
    assert judge([1.0] * 6, data="none").verdict == "reproduced"


def test_rows_of_different_profiles_are_not_compared():
    cells = {("a", "c0"): cell([1.0] * 10, "paper"), ("b", "c0"): cell([0.0] * 10, "cpu")}
    (verdict,) = evaluate(A_BEATS_B, "t", cells)
    assert verdict.verdict == "not attempted"
    assert "different profiles (paper, cpu)" in verdict.reason


def test_only_common_seeds_are_compared():
    a, b = Cell({0: 1.0, 1: 1.0, 2: 1.0}, "paper", "real"), Cell({2: 0.0, 1: 0.0, 7: 0.0}, "paper", "real")
    (verdict,) = evaluate(A_BEATS_B, "t", {("a", "c0"): a, ("b", "c0"): b})
    assert verdict.n == 2
    (verdict,) = evaluate(A_BEATS_B, "t", {("a", "c0"): a, ("b", "c0"): Cell({5: 0.0}, "paper", "real")})
    assert verdict.verdict == "not attempted"
    assert "no seed in common" in verdict.reason


def test_another_profile_says_so():
    assert "profile cpu and not the paper's settings" in judge([1.0] * 6, profile="cpu").reason
    assert "profile" not in judge([1.0] * 6).reason


@pytest.mark.parametrize("lost", [None, math.nan, math.inf])
def test_diverged_runs(lost):
    up, zero = [1.0] * 8, [0.0] * 8

    def found(a, b):
        return evaluate(A_BEATS_B, "t", {("a", "c0"): cell(a), ("b", "c0"): cell(b)})[0]

    # The better row is better although the other one's worst run is left out.
    verdict = found(up, [lost, *zero[1:]])
    assert (verdict.verdict, verdict.n) == ("reproduced", 7)
    assert "diverged runs of B left out" in verdict.reason
    # It may be better only because its worst run is left out.
    verdict = found([lost, *up[1:]], zero)
    assert (verdict.verdict, verdict.comparisons[0].diverged) == ("undecided", {"a": 1, "b": 0})
    # The same, the other way round.
    assert found([lost, *zero[1:]], up).verdict == "contradicted"
    assert found(zero, [lost, *up[1:]]).verdict == "undecided"
    # Falling short of what is published may come of that alone.
    printed = paper({"a": ["9"], "b": ["0"]}, [[order("a", "b")]])

    def short(a, b):
        return evaluate(printed, "t", {("a", "c0"): cell(a), ("b", "c0"): cell(b)})[0].verdict

    assert short(NONE, zero) == "not reproduced"
    assert short([lost, *NONE[1:]], zero) == "not reproduced"
    assert short(NONE, [lost, *zero[1:]]) == "undecided"
    # Nothing is left.
    verdict = found([lost] * 8, zero)
    assert (verdict.verdict, verdict.n) == ("undecided", 0)
    assert "of every pair of runs, one diverged" in verdict.reason


def test_errors_are_clear():
    with pytest.raises(InputError, match=r"t of paper has no cell \(a, c9\)"):
        evaluate(A_BEATS_B, "t", {("a", "c9"): cell([1.0])})
    with pytest.raises(InputError, match="no table 'u'"):
        evaluate(A_BEATS_B, "u", {})
    with pytest.raises(InputError, match="confidence must lie between 0 and 1"):
        evaluate(A_BEATS_B, "t", {}, confidence=95)
    zero = {("ours", "AGNews"): cell([0.0, 1.0]), ("dwa", "AGNews"): cell([1.0, 1.0])}
    with pytest.raises(InputError, match=r"positive values; got 0\.0"):
        evaluate(HUQ, "table1", zero)


# The paper's own claims


@pytest.mark.parametrize(
    ("found", "holds_not", "prints_not"),
    [
        (HUQ, {"table2-mtl", "table3-others-never-best", "table3-vanilla", "table3-mtl"}, set()),
        (LEE, {"table1-pareto-first", "splitting-helps"}, {"multi-task-generalises"}),
        (LIU, {"table1-random-weights"}, {"figure3-faster", "figure3-final"}),
    ],
    ids=lambda each: getattr(each, "key", ""),
)
def test_claims_that_fail_in_the_papers_own_tables(found, holds_not, prints_not):
    holds = {each.claim: each.holds_in_paper for table in found.tables for each in evaluate(found, table.id, {})}
    assert {claim for claim, value in holds.items() if value is False} == holds_not
    assert {claim for claim, value in holds.items() if value is None} == prints_not


@pytest.mark.parametrize(
    ("found", "table"),
    [(found, table) for found in (HUQ, LEE, LIU) for table in found.tables if table.prints_numbers],
    ids=lambda each: getattr(each, "id", getattr(each, "key", "")),
)
def test_runs_as_published_reproduce_what_holds_and_contradict_the_rest(found, table):
    rng = np.random.default_rng(0)
    cells = {
        (row.id, column.id): cell(table.value(row.id, column.id) * (1 + 1e-5 * rng.standard_normal(13)))
        for row in table.rows
        for column in table.columns
        if table.printed(row.id, column.id)
    }
    for verdict in evaluate(found, table.id, cells):
        assert verdict.verdict == ("reproduced" if verdict.holds_in_paper else "contradicted"), verdict.reason


# Properties

values = st.lists(st.floats(-100, 100).map(lambda value: round(value, 3)), min_size=2, max_size=9)


@settings(deadline=None, max_examples=25)
@given(values, st.randoms(use_true_random=False))
def test_order_of_seeds_and_cells_changes_nothing(differences, random):
    cells = {("a", "c0"): cell(differences), ("b", "c0"): cell([0.25] * len(differences))}
    shuffled = {}
    for key in reversed(cells):
        items = list(cells[key].values.items())
        random.shuffle(items)
        shuffled[key] = replace(cells[key], values=dict(items))
    assert evaluate(A_BEATS_B, "t", cells) == evaluate(A_BEATS_B, "t", shuffled)


@settings(deadline=None, max_examples=25)
@given(st.lists(values, min_size=3, max_size=3), st.permutations(["a", "b", "c"]))
def test_order_of_rows_and_of_those_that_one_is_compared_with_changes_nothing(drawn, rows):
    numbers = dict(zip("abc", ([3], [2], [1]), strict=True))
    cells = {(row, "c0"): cell(each) for row, each in zip("abc", drawn, strict=True)}

    def found(order_of_rows):
        others = [row for row in order_of_rows if row != "a"]
        parts = [[order("a", *others)], [{"kind": "best", "row": "b"}], [{"kind": "rank", "row": "c", "rank": 2}]]
        shuffled = paper({row: numbers[row] for row in order_of_rows}, parts)
        verdicts = evaluate(shuffled, "t", {(row, "c0"): cells[row, "c0"] for row in order_of_rows})
        return [(each.verdict, each.n, each.n_needed, sorted(map(repr, each.comparisons))) for each in verdicts]

    assert found(rows) == found("abc")


@settings(deadline=None, max_examples=40)
@given(st.lists(st.lists(st.none() | st.floats(-1, 1), max_size=12), min_size=3, max_size=3))
def test_undecided_for_want_of_seeds_says_how_many_it_takes(drawn):
    cells = {(row, "c0"): cell(each) for row, each in zip("abc", drawn, strict=True)}
    for verdict in evaluate(THREE, "t", cells):
        made = [each.n for each in verdict.comparisons if each.n]
        if verdict.verdict == "undecided" and made and min(made) < verdict.n_needed:
            assert f"takes {verdict.n_needed}, there are {min(made)}" in verdict.reason
        else:
            assert "too few seeds" not in verdict.reason.lower()
        assert verdict.verdict in ("undecided", "not attempted") or max(made) >= verdict.n_needed


@settings(deadline=None, max_examples=50)
@given(values)
def test_reversed_signs_turn_reproduced_into_contradicted(differences):
    here, there = judge(differences), judge([-difference for difference in differences])
    assert here.comparisons[0].p == there.comparisons[0].p
    assert (here.verdict == "reproduced") == (there.verdict == "contradicted")


@settings(deadline=None, max_examples=10)
@given(st.lists(st.floats(0.001, 100), min_size=6, max_size=6))
def test_the_level_is_exact_whatever_the_sizes(sizes):
    """Were the methods alike, every choice of signs would be equally likely."""
    signs = itertools.product((-1, 1), repeat=len(sizes))
    decided = sum(
        judge([sign * size for sign, size in zip(each, sizes, strict=True)]).verdict in ("reproduced", "contradicted")
        for each in signs
    )
    assert decided <= 0.05 * 2 ** len(sizes)


THREE = paper(
    {"a": [3], "b": [2], "c": [1]},
    [[{"kind": "best", "row": "a"}], [order("b", "c")], [order("a", "c")]],
)


def simulate(rng, means, n=8, noise=lambda rng, n: rng.standard_normal(n)):
    """Verdicts on simulated runs: each seed shifts all rows alike, and each row by itself."""
    shared = 5 * rng.standard_normal(n)
    cells = {(row, "c0"): cell(mean + shared + noise(rng, n)) for row, mean in means.items()}
    return [each.verdict for each in evaluate(THREE, "t", cells)]


def at_most(share, n):
    """Count that a probability of ``share`` exceeds in one test in a thousand."""
    return stats.binom.ppf(0.999, n, share)


@pytest.mark.parametrize(
    "noise",
    [lambda rng, n: rng.standard_t(2, n), lambda rng, n: rng.exponential(1, n)],
    ids=["heavy-tailed", "skewed"],
)
def test_no_effect_is_rarely_decided(noise):
    """In any of a table's claims together, no more often than the level."""
    rng = np.random.default_rng(0)
    n = 250
    decided = [
        {"reproduced", "contradicted"} & set(simulate(rng, {"a": 0, "b": 0, "c": 0}, noise=noise)) for _ in range(n)
    ]
    assert 0 < sum(map(bool, decided)) <= at_most(0.05, n)


def test_no_effect_is_rarely_decided_where_the_worst_runs_diverge():
    """Leaving out a method's worst runs decides nothing in its favour."""
    rng = np.random.default_rng(2)
    n = 200
    decided = 0
    for _ in range(n):
        a, b = rng.standard_normal((2, 16))
        cells = {("a", "c0"): cell([None if run < 0 else run for run in a]), ("b", "c0"): cell(b)}
        (verdict,) = evaluate(A_BEATS_B, "t", cells)
        decided += verdict.verdict in ("reproduced", "contradicted")
    assert decided <= at_most(0.05, n)


@pytest.mark.parametrize("compare", ["difference", "ratio"])
def test_an_effect_at_the_bound_is_rarely_decided(compare):
    """For "worse by less than a bound", being worse by exactly the bound is what has no effect."""
    bound = {"amount": 2.0} if compare == "difference" else {"factor": math.e**2}
    part = {"kind": "within", "row": "b", "others": ["a"], **bound}
    near = paper({"a": [10], "b": [9]}, [[part]], compare=compare)
    rng = np.random.default_rng(3)
    n = 250
    decided = 0
    for _ in range(n):
        shared = rng.standard_normal(8)
        a, b = shared + 2 + rng.standard_t(3, 8), shared
        if compare == "ratio":
            a, b = np.exp(a), np.exp(b)
        (verdict,) = evaluate(near, "t", {("a", "c0"): cell(a), ("b", "c0"): cell(b)})
        decided += verdict.verdict in ("reproduced", "contradicted")
    assert 0 < decided <= at_most(0.05, n)


def test_the_published_effect_is_rarely_missed():
    """Runs whose true effects are the published ones are seldom called not reproduced, and never the opposite."""
    rng = np.random.default_rng(1)
    n = 250
    found = [simulate(rng, {"a": 3, "b": 2, "c": 1}) for _ in range(n)]
    assert sum("not reproduced" in each for each in found) <= at_most(0.05, n)
    assert not any("contradicted" in each for each in found)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32 - 1))
def test_a_large_effect_is_found_with_ten_seeds(seed):
    rng = np.random.default_rng(seed)
    assert simulate(rng, {"a": 40, "b": 20, "c": 0}, n=10) == ["reproduced"] * 3
    assert simulate(rng, {"a": 0, "b": 20, "c": 40}, n=10) == ["contradicted"] * 3


def test_many_seeds_draw_the_flips_the_same_each_time():
    up = list(np.random.default_rng(0).normal(1, 1, 18))
    assert judge(up) == judge(up)
    assert judge(up).verdict == "reproduced"


def test_needs_no_torch():
    code = "import sys, mtlutils.claims; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
