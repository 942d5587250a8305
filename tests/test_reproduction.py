"""Records -> cells, summaries and tables."""

import math
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from made_up import SETTINGS, a_record, accuracy, cost, filling
from shared import without_details

from mtlutils import folders, ledger, ledger_page, pages, papers, profiles, records, report, reproduction, statistics
from mtlutils.errors import InputError
from mtlutils.reproduction import Measured

HUQ = papers.load("huq2022")
TABLE1, TABLE3 = HUQ.table("table1"), HUQ.table("table3")
PAIRS = papers.load("lee2020").table("table1")
PAIR = ("top-left", "bottom-right")
STREETS, ROOMS = (papers.load("lee2020").table(table) for table in ("table2", "table3"))
LIU = papers.load("liu2022")
COST = papers.load("crawshaw2021").table("cost")
FIGURE, NYUV2 = LIU.table("figure3"), LIU.table("table1")
PYPROJECT = folders.project() / "pyproject.toml"
ALL_TABLES = [table for paper in papers.every() for table in paper.tables]


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project without records or profiles."""
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    reproduction._committed.cache_clear()
    yield tmp_path
    reproduction._committed.cache_clear()


def commit(project, *found):
    paths = [records.write(record, project / "results") for record in found]
    reproduction._committed.cache_clear()
    return paths


def profile(project, name, **changed):
    parameters = {"profile": name, "methods": ["single_task", "equal", "adaptive", "dwa"], "seeds": [0, 1, 2]}
    return profile_of(project, name, "adaptive_agnews", **parameters | SETTINGS | changed)


def profile_of(project, name, experiment, **parameters):
    path = project / "profiles" / name / f"{experiment}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(parameters))
    return parameters


# Records -> cells


def test_values_by_seed_in_the_unit_of_the_table():
    found = [accuracy("equal", 0, 0.75, 0.5), accuracy("equal", 1, 0.5, 0.25), accuracy("adaptive", 1, 0.875, 0.625)]
    measured = reproduction.measured(TABLE3, found, "mine")
    assert {key: cell.values for key, cell in measured.cells.items()} == {
        ("vanilla", "2-class"): {0: 75.0, 1: 50.0},
        ("vanilla", "4-class"): {0: 50.0, 1: 25.0},
        ("ours", "2-class"): {1: 87.5},
        ("ours", "4-class"): {1: 62.5},
    }
    assert {(cell.profile, cell.data) for cell in measured.cells.values()} == {("mine", "real")}
    assert measured.records["vanilla", "4-class"] == found[:2]
    assert measured.all_records() == found


def test_single_task_run_fills_the_column_of_its_task():
    found = [accuracy("single_task", 0, 0.75, ...), accuracy("single_task", 0, ..., 0.5)]
    measured = reproduction.measured(TABLE3, found, "mine")
    assert {key: cell.values for key, cell in measured.cells.items()} == {
        ("stl", "2-class"): {0: 75.0},
        ("stl", "4-class"): {0: 50.0},
    }


def test_method_that_is_not_in_the_paper_has_a_row_of_its_name():
    measured = reproduction.measured(TABLE3, [accuracy("adaptive(detach=false)", 0, 0.5, 0.5)], "mine")
    assert set(measured.cells) == {("adaptive(detach=false)", "2-class"), ("adaptive(detach=false)", "4-class")}
    assert measured.published(TABLE3) == {}


def test_diverged_run_has_no_value_but_a_place():
    found = [accuracy("equal", 0, 0.75, 0.5), accuracy("equal", 1, None, None, status="diverged")]
    assert reproduction.measured(TABLE3, found, "mine").cells["vanilla", "2-class"].values == {0: 75.0, 1: None}


def test_column_takes_the_records_of_its_parameters():
    found = [
        a_record(experiment="weighting_cost", method="dwa", parameters={"n_tasks": n}, metrics={"seconds/median": s})
        for n, s in ((5, 4e-5), (2, 3e-5), (9, 1.0))
    ]
    measured = reproduction.measured(TABLE1, found, "mine")
    assert {key: cell.values for key, cell in measured.cells.items()} == {
        ("dwa", "CIFAR-100"): {0: 4e-5},
        ("dwa", "AGNews"): {0: 3e-5},
    }


def timed(method, seed, seconds, device="one", items=12800):
    run = a_record(experiment="balancing_landscape", method=method, seed=seed, metrics={})
    return run.model_copy(
        update={
            "parameters": {"dataset": "multi_mnist", "train_items": items},
            "timing": run.timing.model_copy(update={"processor_seconds_per_step": seconds}),
            "environment": run.environment.model_copy(update={"device": device}),
        }
    )


def test_times_are_compared_on_the_device_of_most_runs_alone():
    elsewhere = [
        timed("slaw", 1, 0.5, device="another"),
        *(timed("dwa", seed, 0.5, device="another") for seed in range(3)),
    ]
    found = [timed("equal", 0, 0.01), timed("slaw", 0, 0.02), timed("dwa", 0, 0.03), *elsewhere]
    measured = reproduction.measured(COST, found, "mine")
    assert {key: cell.values for key, cell in measured.cells.items()} == {
        ("equal", "step"): {0: 10},
        ("slaw", "step"): {0: 20},
        ("dwa", "step"): {0: 30},
    }
    assert measured.problems == ["the times of 4 runs, on another device than most"]


def test_a_row_of_a_study_takes_none_of_the_main_runs(project):
    asked = {"dataset": "multi_mnist", "train_items": 60000, "methods": ["equal"], "seeds": [0, 1]}
    profile_of(project, "cpu", "balancing_landscape", **asked, costs_train_items=12800, costs_seeds=[0])
    commit(project, timed("equal", 0, 0.01), timed("equal", 0, 0.5, items=60000), timed("equal", 1, 0.5, items=60000))
    assert reproduction.reproduced(COST).cells["equal", "step"].values == {0: 10}


def test_columns_of_one_table_have_units_of_their_own():
    found = [filling(ROOMS, "proposed", column.id, 0.25) for column in ROOMS.columns]
    cells = reproduction.measured(ROOMS, found, "mine").cells
    values = {key[1]: cell.values[0] for key, cell in cells.items()}
    assert {key[0] for key in cells} == {"proposed"}
    shares = {"miou", "pixel", "within-11.25", "within-22.5", "within-30"}
    assert values == {column.id: 25 if column.id in shares else 0.25 for column in ROOMS.columns}


def test_another_network_fills_no_row_of_the_paper():
    equal = [filling(ROOMS, row, "miou", value) for row, value in (("ordinary", 0.25), ("mtan", 0.5))]
    other = filling(ROOMS, "ordinary", "miou", 0.75, architecture="dilated_resnet")
    measured = reproduction.measured(ROOMS, [*equal, other], "mine")
    assert {key[0]: cell.values[0] for key, cell in measured.cells.items()} == {
        "ordinary": 25,
        "mtan": 50,
        "equal, architecture dilated_resnet": 75,
    }
    assert {key[0] for key in measured.published(ROOMS)} == {"ordinary", "mtan"}
    streets = filling(STREETS, "ordinary", "miou", 0.125)
    assert reproduction.measured(ROOMS, [streets], "mine") == Measured()


# Which records a notebook asks for


PARAMETERS = {"methods": ["equal", "adaptive( detach = no )"], "seeds": [0, 1], "profile": "mine", **SETTINGS}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (accuracy("equal", 1, 0.5, 0.5), True),
        (accuracy("adaptive(detach=false)", 0, 0.5, 0.5), True),
        (accuracy("adaptive", 0, 0.5, 0.5), False),
        (accuracy("equal", 2, 0.5, 0.5), False),
        (accuracy("equal", 0, 0.5, 0.5, learning_rate=2.0), False),
        (accuracy("equal", 0, 0.5, 0.5, train_rows=None), False),
        (accuracy("equal", 0, 0.5, ...), True),
        (accuracy("equal", 0, 0.5, 0.5, not_a_parameter_of_the_notebook=3), True),
    ],
)
def test_record_belongs_to_a_notebooks_parameters(record, expected):
    assert reproduction.belongs(record, PARAMETERS) is expected


def test_model_of_fewer_tasks_than_others_stands_for_none_of_them():
    both, one = accuracy("equal", 0, 0.9, 0.8), accuracy("equal", 0, 0.5, ...)
    alone = [accuracy("single_task", 0, 0.7, ...), accuracy("single_task", 0, ..., 0.6)]
    asked = PARAMETERS | {"methods": ["single_task", "equal"]}
    for among in ([both, one, *alone], [one, *alone, both]):
        found = reproduction.committed("adaptive_agnews", asked, among=among)
        assert [record.key for record in found] == [record.key for record in (*alone, both)]
    # unless it is what is asked for
    found = reproduction.committed("adaptive_agnews", asked | {"tasks": ["2-class"]}, among=[both, one, *alone])
    assert [record.key for record in found] == [record.key for record in (*alone, one)]


def test_list_stands_for_each_of_its_values():
    asked = PARAMETERS | {"learning_rate": [1.0, 2.0]}
    rates = [
        rate for rate in (0.5, 1.0, 2.0) if reproduction.belongs(accuracy("equal", 0, 1, 1, learning_rate=rate), asked)
    ]
    assert rates == [1.0, 2.0]


def test_sweep_has_its_own_seeds_and_all_rates():
    asked = profiles.of_study(PARAMETERS | {"sweep_seeds": [5], "sweep_learning_rate": [2.0, 3.0]}, "sweep")
    assert (asked["seeds"], asked["learning_rate"], asked["epochs"]) == ([5], [2.0, 3.0], 2)
    assert reproduction.belongs(accuracy("equal", 5, 0.5, 0.5, learning_rate=3.0), asked)
    assert not reproduction.belongs(accuracy("equal", 0, 0.5, 0.5), asked)


def test_committed_records_come_by_method_and_seed_and_none_is_on_a_standin(project):
    asked = profile(project, "cpu")
    found = [accuracy(method, seed, 0.5, 0.5) for method in ("adaptive", "equal") for seed in (2, 0)]
    commit(project, *found, accuracy("equal", 1, 0.9, 0.9, kind="stand-in"), accuracy("equal", 7, 0.9, 0.9))
    order = [(record.method, record.seed) for record in reproduction.committed("adaptive_agnews", asked)]
    assert order == [("equal", 0), ("equal", 2), ("adaptive", 0), ("adaptive", 2)]


# The best profile


def test_nothing_is_reproduced_without_records(project):
    assert reproduction.reproduced(TABLE3) == Measured()
    profile(project, "cpu")
    assert reproduction.reproduced(TABLE3) == Measured()


def test_each_cell_is_of_the_best_profile_that_has_it(project):
    profile(project, "cpu")
    profile(project, "paper", train_rows=1000)
    small, large = accuracy("equal", 0, 0.5, 0.5), accuracy("equal", 0, 0.75, 0.625, train_rows=1000)
    commit(project, small, accuracy("adaptive", 0, 0.25, 0.25), accuracy("dwa", 0, 1, 1, epochs=99))
    assert reproduction.reproduced(TABLE3).cells["vanilla", "2-class"].values == {0: 50.0}
    commit(project, large)
    cells = reproduction.reproduced(TABLE3).cells
    assert cells["vanilla", "2-class"].values == {0: 75.0}
    assert {key: cell.profile for key, cell in cells.items()} == {
        ("vanilla", "2-class"): "paper",
        ("vanilla", "4-class"): "paper",
        ("ours", "2-class"): "cpu",
        ("ours", "4-class"): "cpu",
    }


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.caption)
def test_every_row_of_ours_is_filled_by_records_on_real_data_and_by_no_others(project, table):
    ours = [row for row in table.rows if row.method]
    studies = {
        f"{row.study.replace('.', '_')}_methods": [each.method for each in ours if each.study == row.study]
        for row in ours
        if row.study
    }
    profile_of(project, "cpu", table.experiment, methods=[row.method for row in ours], seeds=[0], **studies)

    def found(kind):
        return [filling(table, row.id, column.id, 0.5, kind=kind) for row in ours for column in table.columns]

    commit(project, *found("stand-in"))
    assert reproduction.reproduced(table) == Measured()
    commit(project, *found("real"))
    cells = reproduction.reproduced(table).cells
    assert set(cells) == {(row.id, column.id) for row in ours for column in table.columns}
    assert {cell.data for cell in cells.values()} == {"real"}


def test_a_study_fills_the_row_that_names_it_and_no_other(project):
    asked = {"architecture": "segnet", "mtan_architecture": "segnet_mtan", "mtan_methods": ["equal", "gradnorm"]}
    profile_of(project, "cpu", "single_step_dense", methods=["equal", "gradnorm"], seeds=[0], **asked)
    commit(
        project,
        filling(ROOMS, "ordinary", "miou", 0.25),
        filling(ROOMS, "mtan", "miou", 0.5),
        filling(ROOMS, "gradnorm", "miou", 0.75, architecture="segnet_mtan"),
        filling(ROOMS, "mtan", "miou", 1.0, seed=7),
    )
    cells = reproduction.reproduced(ROOMS).cells
    assert {key: cell.values for key, cell in cells.items()} == {
        ("ordinary", "miou"): {0: 25},
        ("mtan", "miou"): {0: 50},
    }


def test_truncated_record_is_named_and_the_others_stay(project):
    asked = profile(project, "cpu")
    path, _ = commit(project, accuracy("equal", 0, 0.5, 0.5), accuracy("equal", 1, 0.75, 0.5))
    path.write_bytes(path.read_bytes().rstrip()[:-1])
    reproduction._committed.cache_clear()
    found = reproduction.reproduced(TABLE3)
    assert found.cells["vanilla", "2-class"].values == {1: 75.0}
    (problem,) = found.problems
    assert problem.startswith(f"{path}: not a valid run record")
    assert [record.seed for record in reproduction.committed("adaptive_agnews", asked)] == [1]
    # it is named wherever the table is shown
    shown = report.comparison(HUQ, "table3", Measured(), "mine").data
    assert path.name in shown


def test_profile_that_is_not_yaml_names_the_file(project):
    profile(project, "cpu")
    path = project / "profiles" / "cpu" / "adaptive_agnews.yml"
    path.write_text("seeds: [0, 1")
    with pytest.raises(InputError, match="not valid YAML") as error:
        reproduction.reproduced(TABLE3)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_figures_show_the_best_profile_and_this_run(project):
    profile(project, "cpu", sweep_seeds=[0], sweep_learning_rate=[1.0, 2.0])
    mine = [accuracy("equal", 9, 0.5, 0.5, kind="stand-in")]
    assert reproduction.side_by_side("adaptive_agnews", mine, "smoke") == {
        "This run (stand-in: made up, profile smoke)": mine
    }
    ours, swept = accuracy("equal", 0, 0.5, 0.5), accuracy("equal", 0, 0.5, 0.5, learning_rate=2.0)
    commit(project, ours, swept)
    assert reproduction.side_by_side("adaptive_agnews", mine, "smoke") == {
        "Reproduced (made up, profile cpu)": [ours],
        "This run (stand-in: made up, profile smoke)": mine,
    }
    groups = reproduction.side_by_side("adaptive_agnews", mine, "smoke", studies=["sweep"])
    assert {record.key for record in groups["Reproduced (made up, profile cpu)"]} == {ours.key, swept.key}
    # loaded records are shown once
    assert reproduction.side_by_side("adaptive_agnews", [ours], "cpu") == {"Reproduced (made up, profile cpu)": [ours]}
    # and records of the paper's own settings alone, where there are any
    profile(project, "paper", train_rows=1000)
    large = accuracy("equal", 0, 0.75, 0.5, train_rows=1000)
    commit(project, large)
    assert list(reproduction.side_by_side("adaptive_agnews", mine, "smoke").values()) == [[large], mine]


# The learning rate


def at(rate, *accuracies, method="equal", seed=0, **metrics):
    return a_record(
        method=method,
        seed=seed,
        parameters={"learning_rate": rate},
        metrics={f"validation/accuracy/{i}": value for i, value in enumerate(accuracies)} | metrics,
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], None),
        ([at(1.0, 0.5, method="dwa")], None),
        ([at(0.1, 0.5, 0.7), at(1.0, 0.9, 0.1)], 0.1),  # means 0.6 and 0.5
        ([at(0.1, 0.5), at(0.1, 0.9, seed=1), at(1.0, 0.8), at(1.0, 0.8, seed=1)], 1.0),  # 0.7 and 0.8
        ([at(0.1, 0.5), at(1.0, 0.4), at(1.0, 0.9, method="dwa"), at(5.0, 0.9, method="adaptive")], 0.1),
        ([at(0.1, 0.5), at(1.0, 0.9), at(1.0, None, seed=1)], 0.1),  # one of its runs diverged
        ([at(0.1, 0.5), at(1.0)], 0.1),
        ([at(1.0, None)], None),
        ([at(0.1, 0.5, **{"test/accuracy/0": 0.1}), at(1.0, 0.4, **{"test/accuracy/0": 0.9})], 0.1),
        ([at(0.1, 0.0), at(0.1, 0.9, seed=1), at(1.0, 0.6), at(1.0, 0.6, seed=1)], 1.0),  # 0.45 and 0.6
    ],
)
def test_chosen_learning_rate_is_the_best_of_equal_weighting_on_validation(found, expected):
    assert reproduction.chosen_learning_rate(found) == expected


def test_chosen_learning_rate_of_another_method():
    found = [at(0.1, 0.5), at(1.0, 0.4), at(0.1, 0.6, method="single_task"), at(1.0, 0.7, method="single_task")]
    assert reproduction.chosen_learning_rate(found, "single_task") == 1.0


# Summaries


def test_interval():
    # mean 2, standard error 1 / sqrt(3), 97.5 % quantile of Student's t with 2 degrees of freedom 4.302653
    assert statistics.interval([1.0, 2.0, 3.0]) == pytest.approx((2.0, 4.302653 / math.sqrt(3)))
    # 90 %: 2.919986
    assert statistics.interval([1.0, 2.0, 3.0], 0.9) == pytest.approx((2.0, 2.919986 / math.sqrt(3)))
    assert statistics.interval([0.5, 0.5]) == (0.5, 0.0)


def test_interval_leaves_diverged_runs_out():
    assert statistics.finite([1.0, None, math.nan, math.inf, 0.0]) == [1.0, 0.0]
    assert statistics.interval([1.0, None, 2.0, math.nan, 3.0]) == statistics.interval([1.0, 2.0, 3.0])


@pytest.mark.parametrize(("values", "mean"), [([0.5], 0.5), ([0.5, None], 0.5), ([None], math.nan), ([], math.nan)])
def test_interval_that_cannot_be_had(values, mean):
    assert statistics.interval(values) == pytest.approx((mean, math.nan), nan_ok=True)


def test_prediction_interval_of_one_more_run():
    # standard deviation 1, n = 3: 2 +- 4.302653 * sqrt(1 + 1/3) = 2 +- 4.968
    assert statistics.predicts([1.0, 2.0, 3.0], 2 + 4.96)
    assert statistics.predicts([1.0, 2.0, 3.0], 2 - 4.96)
    assert not statistics.predicts([1.0, 2.0, 3.0], 2 + 4.98)
    assert not statistics.predicts([1.0, 2.0, 3.0], 2 - 4.98)
    assert statistics.predicts([1.0, None], 1.0) is None


def test_prediction_interval_holds_what_it_promises():
    rng = np.random.default_rng(0)
    hits = [statistics.predicts(rng.normal(size=5), rng.normal()) for _ in range(1000)]
    assert 0.92 < np.mean(hits) < 0.98


# Tables


def cells_of(shown):
    """Row label -> texts of its cells, and their classes, of a shown table."""
    rows = {}
    for row in without_details(shown).tbody.find_all("tr"):
        cells = [(cell.text, {"best", "second-best"} & set(cell["class"])) for cell in row.find_all("td")]
        rows[row.th.text] = cells
    return rows


def notes_of(shown):
    return [note.text for note in BeautifulSoup(shown.data, "html.parser").find_all("p", class_="provenance")]


def test_comparison_of_published_and_reproduced_and_this_run(project):
    profile(project, "cpu")
    commit(
        project,
        *(accuracy("equal", seed, two, 0.5) for seed, two in enumerate((0.7, 0.8, 0.9))),
        accuracy("adaptive", 0, 0.85, 0.5),
        accuracy("dwa", 0, 0.9, 0.5),
        accuracy("dwa", 1, None, None, status="diverged"),
    )
    mine = [accuracy("equal", 5, 0.25, 0.75, kind="stand-in"), accuracy("mine", 5, 0.5, 0.5, kind="stand-in")]
    shown = report.comparison(HUQ, "table3", reproduction.measured(TABLE3, mine, "smoke"), "smoke")
    rows = cells_of(shown)
    # 2-class: published, reproduced, this run; then 4-class
    half = 4.302653 * 10 / math.sqrt(3)
    assert rows["MTL - Vanilla"][:3] == [("86.57", {"best"}), (f"80.00 ± {half:.2f}", set()), ("25.00", set())]
    assert rows["MTL - Ours"][:3] == [("86.02", {"second-best"}), ("85.00", {"second-best"}), ("–", set())]
    assert rows["MTL - DWA"][:3] == [("85.86", set()), ("90.00 (1 of 2 diverged)", {"best"}), ("–", set())]
    assert rows["STL"][:3] == [("84.00", set()), ("–", set()), ("–", set())]
    assert rows["mine *"] == [("–", set()), ("–", set()), ("50.00", set())] * 2
    assert rows["MTL - Vanilla"][5] == ("75.00", set())
    assert len(rows) == 6
    caption = BeautifulSoup(shown.data, "html.parser").caption.text
    assert "Table 3" in caption
    assert "Huq" in caption
    assert "stand-in, not on the paper's data" in caption
    reproduced, this_run = notes_of(shown)
    assert reproduced.startswith("Reproduced (profile cpu): made up: 3 rows · seeds 0–2 · ")
    assert this_run.startswith("This run (profile smoke): made up: 3 rows · seed 5 · ")


def details_of(shown):
    """Text of each measured cell of a shown table -> what it says on hover and focus, by way of its description."""
    page = BeautifulSoup(shown.data, "html.parser")
    cells = page.select("td [aria-describedby]")
    assert all(cell["tabindex"] == "0" for cell in cells)
    return {cell.text: page.find(id=cell["aria-describedby"]).text for cell in cells}


def test_measured_cell_says_what_is_behind_it(project):
    profile(project, "cpu")
    other = {"commit": "fedcba9876543210", "dirty": True, "digest": "x"}
    dear = accuracy("equal", 2, 0.9, 0.5).model_copy(update={"source": a_record(source=other).source})
    commit(project, accuracy("equal", 0, 0.7, 0.5), accuracy("equal", 1, 0.8, 0.5), dear)
    commit(project, accuracy("dwa", 0, 0.6, 0.6), accuracy("dwa", 1, None, None, status="diverged"))
    mine = [accuracy("equal", 5, 0.25, ..., kind="stand-in")]
    shown = report.comparison(HUQ, "table3", reproduction.measured(TABLE3, mine, "smoke"), "smoke")
    half = 4.302653 * 10 / math.sqrt(3)
    on = "a processor, 1 thread, torch 2.0"
    assert details_of(shown) == {
        f"80.00 ± {half:.2f}": (
            f"n = 3 · 95 % interval {80 - half:.2f} to {80 + half:.2f} · profile cpu · made up · {on} · "
            "commit 0123456 / fedcba9+changes"
        ),
        "50.00 ± 0.00": (
            f"n = 3 · 95 % interval 50.00 to 50.00 · profile cpu · made up · {on} · commit 0123456 / fedcba9+changes"
        ),
        "60.00 (1 of 2 diverged)": (f"n = 1 of 2 runs · no interval · profile cpu · made up · {on} · commit 0123456"),
        "25.00": f"n = 1 · no interval · profile smoke · made up (stand-in) · {on} · commit 0123456",
    }
    page = BeautifulSoup(shown.data, "html.parser")
    assert page.find(id=page.find(class_="skip-cells")["href"].removeprefix("#"))
    ids = [element["id"] for element in page.select("[id]")]
    assert len(ids) == len(set(ids))
    assert "skip-cells" not in report.comparison(HUQ, "table2", Measured(), "x").data


def test_details_of_short_times_are_in_the_units_of_their_cell(project):
    found = [cost("dwa", 0, 2, 4e-4, 4.0), cost("dwa", 1, 2, 5e-4, 5.0)]
    shown = report.comparison(HUQ, "table1", reproduction.measured(TABLE1, found, "x"), "x")
    half = 12.706205 * 50
    ((text, details),) = details_of(shown).items()
    assert text == f"450.0 ± {half:.1f} µs"
    assert f"95 % interval {450 - half:.1f} µs to " in details


def test_loaded_records_have_no_column_of_their_own(project):
    profile(project, "cpu")
    ours = accuracy("equal", 0, 0.5, 0.5)
    commit(project, ours)
    shown = report.comparison(HUQ, "table3", reproduction.measured(TABLE3, [ours], "cpu"), "cpu")
    assert len(cells_of(shown)["MTL - Vanilla"]) == 2 * 2
    assert "This run loaded the records" in notes_of(shown)[1]
    assert "stand-in" not in shown.data


def test_table_without_records_says_how_to_get_them(project):
    profile(project, "paper")
    profile(project, "cpu")
    mine = reproduction.measured(TABLE3, [accuracy("equal", 0, 0.5, 0.5, kind="stand-in")], "smoke")
    shown = report.comparison(HUQ, "table3", mine, "smoke")
    assert notes_of(shown)[0] == (
        "No runs on these data yet: make book PROFILE=cpu trains what notebooks/adaptive_agnews.ipynb needs, with the "
        "settings in profiles/cpu/adaptive_agnews.yml, given the data set, which the page on data says how to get."
    )
    assert cells_of(shown)["MTL - Vanilla"][1] == ("–", set())


def test_table_without_records_names_the_data_set_and_the_profile_that_there_is(project):
    def note():
        return notes_of(report.comparison(LIU, "table1", Measured(), "smoke"))[0]

    assert note().startswith(
        "No runs on these data yet: once its settings are written, in profiles/cpu/rlw_mtan_nyuv2.yml, make book "
    )
    profile_of(project, "paper", "rlw_mtan_nyuv2", methods=["equal"], seeds=[0])
    assert note().startswith("No runs on these data yet: make book PROFILE=paper trains what notebooks/rlw_mtan")
    assert "settings in profiles/paper/rlw_mtan_nyuv2.yml, given NYUv2 as the authors of MTAN" in note()
    assert notes_of(report.verdicts(LIU, "table1")) == [note()]


def heads_of(shown):
    """Texts of the headings of a shown table's columns, that over the sources' names."""
    return [each.text for each in BeautifulSoup(shown.data, "html.parser").thead.tr.select("th.col_heading")]


def test_headings_give_units_and_directions_where_they_differ(project):
    found = [filling(ROOMS, "proposed", column.id, 0.25) for column in ROOMS.columns]
    found += [filling(ROOMS, "proposed", "absolute", 0.35, seed=1)]
    shown = report.comparison(papers.load("lee2020"), "table3", reproduction.measured(ROOMS, found, "x"), "x")
    heads = heads_of(shown)
    assert heads[0] == "Semantic segmentation: mIoU ↑ (%)"
    assert heads[2:6] == [
        *("Depth estimation: Absolute error ↓ (m)", "Depth estimation: Relative error ↓"),
        *("Surface normal: Mean ↓ (°)", "Surface normal: Median ↓ (°)"),
    ]
    texts = [text for text, _ in cells_of(shown)["Proposed"]]
    assert texts[:3] == ["19.49", "–", "25.00"]
    # mean 0.3, half of the interval 12.706205 times half the distance
    assert texts[6:12] == ["0.6028", "–", "0.3000 ± 0.6353", "0.2514", "–", "0.2500"]
    assert texts[12:15] == ["30.83", "–", "0.25"]
    caption = BeautifulSoup(shown.data, "html.parser").caption.text
    assert "↓: lower is" in caption
    assert "Unit:" not in caption
    # where they do not differ, nothing changes
    plain = report.comparison(HUQ, "table3", Measured(), "x")
    assert heads_of(plain) == [column.label for column in TABLE3.columns]
    assert "Unit: %." in BeautifulSoup(plain.data, "html.parser").caption.text


def test_best_value_is_that_of_the_columns_direction(project):
    values = {"ordinary": 0.3, "mtan": 0.2, "proposed": 0.1}
    found = [filling(ROOMS, row, column, value) for row, value in values.items() for column in ("miou", "absolute")]
    shown = report.comparison(papers.load("lee2020"), "table3", reproduction.measured(ROOMS, found, "x"), "x")
    rows = {row: [marks for _, marks in cells] for row, cells in cells_of(shown).items()}
    # published, reproduced, this run of mIoU; then, two columns on, of the absolute error
    assert [rows[row][2] for row in ("Ordinary", "MTAN", "Proposed")] == [{"best"}, {"second-best"}, set()]
    assert [rows[row][8] for row in ("Ordinary", "MTAN", "Proposed")] == [set(), {"second-best"}, {"best"}]
    assert [rows[row][6] for row in ("MTAN", "Proposed")] == [{"best"}, {"second-best"}]


def test_cells_that_the_paper_leaves_empty_and_rows_that_we_do_not_have(project):
    found = [filling(NYUV2, "ours", "miou", 0.5), filling(NYUV2, "ours", "miou", 0.25, architecture="segnet_mtan")]
    shown = report.comparison(LIU, "table1", reproduction.measured(NYUV2, found, "x"), "x")
    rows = {row: [text for text, _ in cells] for row, cells in cells_of(shown).items()}
    assert rows["CMX (only-seg)"] == ["56.9", "–", "–", "80.1", "–", "–", *["–"] * 21]
    assert rows["Ours"][:3] == ["54.7", "–", "50.00"]
    assert rows["rlw, architecture segnet_mtan *"][:3] == ["–", "–", "25.00"]
    assert not any(marks for cells in cells_of(shown).values() for _, marks in cells)  # the report marks none


def test_figure_shows_what_was_measured_and_nothing_published(project):
    tasks = {"tasks": ["joint"]}
    keys = [FIGURE.metric_key(column.id) for column in FIGURE.columns]

    def run(seed, values, **more):
        metrics = dict(zip(keys, values, strict=True))
        return a_record(method="single_task", seed=seed, parameters=tasks, metrics=metrics, **more)

    found = [
        *(run(0, [0.25, 0.5, 8, 1.0]), run(1, [0.25, 0.5, None, 0.9])),
        run(2, [None] * 4, status="diverged"),
    ]
    shown = report.comparison(LIU, "figure3", reproduction.measured(FIGURE, found, "x"), "x")
    rows = {row: [text for text, _ in cells] for row, cells in cells_of(shown).items()}
    lost = "(1 of 3 diverged)"
    assert rows["Single-task"][1::2] == [
        f"0.2500 ± 0.0000 {lost}",
        f"50.00 ± 0.00 {lost}",
        "8.0 (1 of 3 without a value, 1 of 3 diverged)",
        f"95.00 ± {12.706204736 * 5:.2f} {lost}",
    ]
    assert rows["Multi-task"] == ["–"] * 8
    assert "prints no number" in BeautifulSoup(shown.data, "html.parser").caption.text
    assert "published" not in BeautifulSoup(shown.data, "html.parser").thead.text

    def epochs(*found):
        shown = report.comparison(LIU, "figure3", reproduction.measured(FIGURE, found, "x"), "x")
        return cells_of(shown)["Single-task"][5][0]

    assert epochs(found[1]) == "without a value"
    assert epochs(found[2]) == "diverged"
    assert epochs(*found[1:]) == "1 of 2 without a value, 1 of 2 diverged"


def test_verdicts_on_a_figure_say_that_it_prints_no_number(project):
    profile_of(
        project,
        "cpu",
        "fingers",
        **{"methods": ["equal"], "seeds": list(range(9)), "joint_methods": ["single_task"]},
    )
    for seed in range(9):
        for column, single, multi in (("loss", 0.5, 0.25), ("accuracy", 0.5, 0.75), ("final", 0.9, 0.8)):
            commit(
                project,
                filling(FIGURE, "single", column, single + seed / 1e3, seed=seed),
                filling(FIGURE, "multi", column, multi, seed=seed),
            )
    shown = BeautifulSoup(report.verdicts(LIU, "figure3").data, "html.parser")
    rows = [[cell.text for cell in row.find_all("td")] for row in shown.table.tbody.find_all("tr")]
    assert [row[1] for row in rows] == ["reproduced", "contradicted"]
    assert all(row[2].endswith("The paper prints no number for it.") for row in rows)


def test_every_run_diverged(project):
    mine = [accuracy("equal", seed, None, None, status="diverged") for seed in (0, 1)]
    shown = report.comparison(HUQ, "table3", reproduction.measured(TABLE3, mine, "smoke"), "smoke")
    assert cells_of(shown)["MTL - Vanilla"][2] == ("diverged", set())


def test_notes_are_text_and_not_html(project):
    profile(project, "cpu")
    (path,) = commit(project, accuracy("equal", 0, 0.5, 0.5))
    path.rename(path.with_name("<img src=x>.json"))
    reproduction._committed.cache_clear()
    shown = report.comparison(HUQ, "table3", Measured(), "smoke")
    assert not BeautifulSoup(shown.data, "html.parser").find_all("img")
    assert "<img src=x>.json" in notes_of(shown)[-1]


def test_verdict_on_every_claim(project):
    profile(project, "cpu", seeds=list(range(10)))
    # adaptive is always a little better than equal, and never by the same amount
    for seed in range(10):
        commit(
            project, accuracy("equal", seed, 0.5, 0.5), accuracy("adaptive", seed, 0.6 + seed / 1e3, 0.6 + seed / 1e3)
        )
    shown = BeautifulSoup(report.verdicts(HUQ, "table3").data, "html.parser")
    rows = [[cell.text for cell in row.find_all("td")] for row in shown.table.tbody.find_all("tr")]
    assert [row[0].partition(" How we")[0] for row in rows] == [claim.statement for claim in HUQ.claims_on("table3")]
    for _, verdict, why in rows:
        assert verdict in {"reproduced", "not reproduced", "contradicted", "undecided", "not attempted"}
        assert verdict == "not attempted" or "cpu" in why
    assert len({verdict for _, verdict, _ in rows}) > 1
    assert "seeds 0–9" in shown.find("p", class_="provenance").text


def test_claim_says_how_it_was_read(project):
    kurin = papers.load("kurin2022")
    shown = BeautifulSoup(report.verdicts(kurin, "finding").data, "html.parser")
    (reading,) = shown.select(".reading")
    (claim,) = kurin.claims_on("finding")
    assert reading.text == f"How we read it: {claim.note}"
    assert reading.find_parent("td").text.startswith(claim.statement)


def test_standin_records_give_no_verdict(project):
    profile(project, "cpu", seeds=list(range(10)))
    commit(
        project, *(accuracy(m, seed, 0.9, 0.9, kind="stand-in") for m in ("equal", "adaptive") for seed in range(10))
    )
    shown = BeautifulSoup(report.verdicts(HUQ, "table3").data, "html.parser")
    assert {badge.text for badge in shown.find_all(class_="verdict")} == {"not attempted"}


@pytest.mark.parametrize(
    ("mean", "half", "unit", "expected"),
    [
        (81.2345, 0.567, "%", "81.23 ± 0.57"),
        (81.2345, math.nan, "%", "81.23"),
        (2.5e-5, 1.26e-6, "s", "25.0 ± 1.3 µs"),
        (1.5, 0.1, "s", "1.50 ± 0.10"),
        (0.0005, 0.1, "%", "0.00 ± 0.10"),
    ],
)
def test_number(mean, half, unit, expected):
    assert report.number(mean, half, unit) == expected


@pytest.mark.parametrize(
    ("mean", "half", "unit", "digits", "expected"),
    [
        (0.123456, 0.00042, "", 4, "0.1235 ± 0.0004"),
        (0.6, math.nan, "", 0, "1"),
        (math.nan, math.nan, "", 4, "–"),
        (2.5e-5, 1.26e-6, "s", 4, "25.0 ± 1.3 µs"),  # microseconds have one digit whatever is asked for
    ],
)
def test_number_of_so_many_digits(mean, half, unit, digits, expected):
    assert report.number(mean, half, unit, digits=digits) == expected


def test_provenance_is_one_line():
    other = {"commit": None, "dirty": None, "digest": "x"}
    found = [
        a_record(seed=3),
        a_record(seed=0, source={"commit": "fedcba9876543210", "dirty": True, "digest": "x"}),
        a_record(seed=1, source=other, started="2026-01-05T00:00:00Z"),
    ]
    assert report.provenance("Here", found) == (
        "Here: made up: 3 rows · seeds 0, 1, 3 · a processor, 1 thread, torch 2.0 · "
        "commit 0123456 / fedcba9+changes / no commit · 2026-01-02 to 2026-01-05."
    )
    assert report.provenance("Here", [a_record()]) == (
        "Here: made up: 3 rows · seed 0 · a processor, 1 thread, torch 2.0 · commit 0123456 · 2026-01-02."
    )
    assert report.provenance("Here", []) == "Here: no records."
    assert report.sources({"A": found[:1], "B": found[:1]}).count("0123456") == 2


def test_costs_by_method_and_number_of_tasks():
    found = [cost("equal", 0, 5, 1e-5, 1.0), cost("dwa", 0, 5, 4e-5, 4.0), cost("dwa", 1, 5, 5e-5, 5.0)]
    found += [cost("equal", 0, 2, 1e-5, 1.0), cost("dwa", 0, 2, 3e-5, 3.0)]
    rows = cells_of(report.costs({"Here": found}))
    # 2 tasks: time, ratio; then 5 tasks. The half interval of two values is 12.706205 times half their distance.
    assert [text for text, _ in rows["dwa"]] == ["30.0 µs", "3.00", "45.0 ± 63.5 µs", "4.50 ± 6.35"]
    assert [text for text, _ in rows["equal"]] == ["10.0 µs", "1.00", "10.0 µs", "1.00"]


def cells(table_html):
    """Row label -> texts of its cells."""
    rows = without_details(table_html).select("tbody tr")
    return {
        " ".join(th.get_text() for th in row.select("th")).strip(): [td.get_text() for td in row.select("td")]
        for row in rows
    }


def test_variants_are_compared_with_the_first_seed_by_seed():
    found = [
        accuracy("dwa", 0, 0.1, 0.1),
        accuracy("adaptive", 0, 0.50, 0.25),
        accuracy("adaptive", 1, 0.60, 0.25),
        accuracy("equal", 0, 0.51, 0.25),
        accuracy("equal", 1, 0.63, None),
        accuracy("equal", 2, 0.99, 0.25),
    ]

    def label(record):
        return None if record.method == "dwa" else ("", record.method)

    shown = report.variants(TABLE3, {"Here (real)": found}, label, "Two schemes.").data
    half = 12.706204736  # 97.5 % quantile of Student's t with one degree of freedom; s / sqrt(2) of +1 and +3 is 1
    of_three = statistics.interval([51.0, 63.0, 99.0])[1]
    assert cells(shown) == {
        "2 Class Classification": ["55.00 ± 63.53", f"71.00 ± {of_three:.2f}", f"+2.00 ± {half:.2f}"],
        "4 Class Classification": ["25.00 ± 0.00", "25.00 ± 0.00 (1 of 3 diverged)", "+0.00 (1 of 2 diverged)"],
    }
    on = "Here (real) · a processor, 1 thread, torch 2.0 · commit 0123456"
    details = details_of(report.variants(TABLE3, {"Here (real)": found}, label, "Two schemes."))
    assert details["25.00 ± 0.00 (1 of 3 diverged)"] == f"n = 2 of 3 runs · 95 % interval 25.00 to 25.00 · {on}"
    assert details[f"+2.00 ± {half:.2f}"] == f"n = 2 · 95 % interval {2 - half:.2f} to {2 + half:.2f} · {on}"
    assert "Two schemes. Here (real)." in shown
    assert "over adaptive" in shown
    assert "seeds 0–2" in shown


def test_variants_of_a_section_are_compared_within_it():
    found = [
        accuracy(method, 0, two, 0.5, grouping=grouping)
        for grouping, method, two in (
            ("contiguous", "equal", 0.5),
            ("outer", "equal", 0.7),
            ("outer", "dwa", 0.6),
            ("contiguous", "adaptive", 0.8),
        )
    ]
    shown = report.variants(TABLE3, {"Here": found}, lambda r: (r.parameters["grouping"], r.method), "By grouping.")
    both = {name: texts for name, texts in cells(shown.data).items() if "2 Class" in name}
    # equal; dwa and its lead; adaptive and its lead
    assert both == {
        "contiguous 2 Class Classification": ["50.00", "–", "–", "80.00", "+30.00"],
        "outer 2 Class Classification": ["70.00", "60.00", "-10.00", "–", "–"],
    }
    # a section's header stands for all its rows, and no header is empty
    headers = BeautifulSoup(shown.data, "html.parser").select("tbody th")
    sections = [(th.text, th["rowspan"]) for th in headers if th.has_attr("rowspan")]
    assert sections == [("contiguous", "2"), ("outer", "2")]
    assert all(th.text for th in headers)


def test_variants_show_the_mean_of_a_curve():
    found = [
        accuracy(method, seed, 0.5, 0.5).model_copy(update={"curves": {"train/step_length": [length, 3 * length]}})
        for method, length in (("equal", 1.0), ("dwa", 2.0))
        for seed in (0, 1)
    ]
    shown = report.variants(TABLE3, {"Here": found}, lambda r: ("", r.method), "S.", {"step": "train/step_length"})
    assert cells(shown.data)["step"] == ["2.00 ± 0.00", "4.00 ± 0.00", ""]


def of_pairs(method, seed, dataset, first, second, traces=None):
    return a_record(
        method=method,
        seed=seed,
        parameters={"dataset": dataset, "tasks": list(PAIR)},
        metrics={f"test/accuracy/{task}": value for task, value in zip(PAIR, (first, second), strict=True)},
        traces=traces or {},
    )


def test_variants_have_the_columns_that_their_records_select_and_fill_no_other():
    found = [of_pairs("equal", 0, "mnist", 0.9, 0.8), of_pairs("split_only", 0, "mnist", 0.7, 0.6)]
    label = lambda record: ("", record.method)  # noqa: E731
    assert cells(report.variants(PAIRS, {"Here": found}, label, "Pairs.").data) == {
        "Multi-MNIST: Task 1": ["90.00", "70.00", "-20.00"],
        "Multi-MNIST: Task 2": ["80.00", "60.00", "-20.00"],
    }
    found += [of_pairs("equal", 1, "fashion", 0.5, 0.4), of_pairs("dwa", 0, "fashion_and_mnist", 0.1, 0.1)]
    leave_out_dwa = lambda record: None if record.method == "dwa" else label(record)  # noqa: E731
    shown = report.variants(PAIRS, {"Here": found, "There": found[2:]}, leave_out_dwa, "Pairs.").data
    here, there = map(str, BeautifulSoup(shown, "html.parser").find_all("table"))
    assert cells(here) == {
        "Multi-MNIST: Task 1": ["90.00", "70.00", "-20.00"],
        "Multi-MNIST: Task 2": ["80.00", "60.00", "-20.00"],
        "Multi-fashion: Task 1": ["50.00", "–", "–"],
        "Multi-fashion: Task 2": ["40.00", "–", "–"],
    }
    assert cells(there) == {"Multi-fashion: Task 1": ["50.00"], "Multi-fashion: Task 2": ["40.00"]}


def test_variants_have_the_units_and_digits_of_their_columns():
    found = [
        filling(ROOMS, row, column, value)
        for row, value in (("ordinary", 0.5), ("proposed", 0.25))
        for column in ("miou", "absolute")
    ]
    shown = report.variants(ROOMS, {"Here": found}, lambda r: ("", r.method), "Two.").data
    kept = {row: texts for row, texts in cells(shown).items() if texts[0] != "–"}
    assert kept == {
        "Semantic segmentation: mIoU ↑ (%)": ["50.00", "25.00", "-25.00"],
        "Depth estimation: Absolute error ↓ (m)": ["0.5000", "0.2500", "-0.2500"],
    }
    assert "↓: lower is" in BeautifulSoup(shown, "html.parser").caption.text


def test_loss_shares_are_distances_from_one_half():
    def traced(method, seed, dataset, before, after):
        each = {"loss": before, "stepped_loss": after}
        return of_pairs(
            method,
            seed,
            dataset,
            0.5,
            0.5,
            {f"step/{what}/{t}": losses for what, both in each.items() for t, losses in zip(PAIR, both, strict=True)},
        )

    found = [
        # shares of 0.25 and 0.75; then of 0.5, twice
        traced("single_step", 0, "mnist", [[1, 3], [3, 1]], [[2, 4], [2, 4]]),
        # of 0.5 and 0.75; then of 0.25, further off, and 0.6
        traced("single_step", 1, "mnist", [[1, 3], [1, 1]], [[1, 3], [3, 2]]),
        traced("single_step", 2, "fashion", [[1, 1], [4, 4]], [[1, 1], [1, 4]]),
        traced("other", 3, "mnist", [[1], [4]], [[1], [4]]),
        of_pairs("equal", 4, "mnist", 0.5, 0.5),
    ]

    def label(record):
        return record.parameters["dataset"] if record.method != "other" else None

    shown = report.loss_shares({"Here": found, "There": found[2:3]}, PAIR, label).data
    here, there = BeautifulSoup(shown, "html.parser").find_all("table")
    half = 12.706204736  # of two values, times half their distance
    assert cells(str(here)) == {
        "mnist": [
            f"0.1875 ± {half * 0.0625:.4f}",
            f"0.0875 ± {half * 0.0875:.4f}",
            f"75.00 ± {half * 25:.2f}",
        ],
        "fashion": ["0.3000", "0.1500", "50.00"],
    }
    assert list(cells(str(there)).values()) == [["0.3000", "0.1500", "50.00"]]
    assert here["id"] != there["id"]
    assert "Here: distance of the share of top-left" in here.caption.text
    notes = [note.text for note in BeautifulSoup(shown, "html.parser").find_all("p", class_="provenance")]
    assert ["seeds 0–2" in notes[0], "seed 2" in notes[1]] == [True, True]
    assert report.loss_shares({"Here": found[4:]}, PAIR, label).data.count("<td") == 0


def test_pages_count_what_is_there(project, tmp_path):
    shutil.copy(PYPROJECT, project)
    profile(project, "cpu")
    commit(project, accuracy("equal", 0, 0.5, 0.5), accuracy("equal", 1, 0.75, 0.5))
    pages.write(tmp_path / "parts")
    scoreboard = (tmp_path / "parts" / "scoreboard.md").read_text()
    for table in ALL_TABLES:
        assert f"{table.label} (no chapter yet)" in scoreboard
    assert "2 of 10" in scoreboard
    assert "seeds 0–1" in scoreboard
    untested = (tmp_path / "parts" / "ledger-untested.md").read_text()
    for paper in papers.every():
        for each in paper.untested:
            assert f"- {' '.join(each.statement.split())}\n  - {' '.join(each.why.split())}" in untested
    protocol = (tmp_path / "parts" / "huq2022-protocol.md").read_text()
    for gap in HUQ.gaps:
        assert " ".join(gap.topic.split()) in protocol


def ledger_of(found):
    """Claim -> its row's text by column, and its links, of the ledger's page."""
    page = BeautifulSoup(ledger_page.ledger(found), "html.parser")
    heads = [head.text for head in page.select("thead th")]
    return page, {
        row["id"]: dict(zip(heads, [cell.text for cell in row.select("td, th")], strict=True))
        | {"links": [link["href"] for link in row.select("a")]}
        for row in page.select("tbody tr")
    }


def test_ledger_has_a_row_a_claim_and_says_how_it_was_judged(project):
    shutil.copy(PYPROJECT, project)
    for name in ("adaptive_agnews", "weighting_cost"):
        (project / "notebooks").mkdir(exist_ok=True)
        (project / "notebooks" / f"{name}.ipynb").touch()
    profile(project, "cpu", seeds=list(range(10)))
    for seed in range(10):
        commit(project, accuracy("equal", seed, 0.5, 0.5), accuracy("adaptive", seed, 0.75 + seed / 1e3, 0.5))
    entries = ledger.entries()
    page, rows = ledger_of(entries)
    claims_of_all = [(paper.key, claim.id) for paper in papers.every() for claim in paper.claims]
    assert sorted(rows) == sorted(f"{name}/{claim}" for name, claim in claims_of_all)
    assert page.find(id="huq2022").find_parent("tr")["id"].startswith("huq2022/")
    judged = [entry for entry in entries if entry.deciding]
    assert judged
    for entry in judged:
        row, found = rows[entry.id], entry.deciding
        assert (row["Verdict"], row["n"], row["Data"]) == (entry.verdict.verdict, "10", "made up, profile cpu")
        assert row["Reason"].replace("−", "-").startswith(entry.verdict.reason)
        assert row["Effect"].replace("−", "-").startswith(f"{found.natural(found.effect):+.3g} points [")
        labels = [TABLE3.row(name).label for name in (found.row, found.other)]
        assert row["Effect"].endswith(f"{' against '.join(labels)}, {TABLE3.column(found.column).label}")
        assert not re.search(r"(?<!\w)-\d", row["Effect"] + row["Reason"])
        low, high = found.interval
        effect = page.find("tr", id=entry.id).find_all("td")[3]
        assert float(effect["data-sort"]) == pytest.approx(
            2 * found.effect / max(high - low, 2e-9), rel=1e-4
        )  # no unit
        index = [claim.id for claim in HUQ.claims_on("table3")].index(entry.verdict.claim)
        chapter = "../notebooks/adaptive_agnews.html#T_huq2022-table3"
        assert row["links"][:2] == [chapter, f"{chapter}-claims_row{index}_col0"]
        assert row["links"][2].endswith("/tree/main/results/adaptive_agnews")
        assert row["links"][3].endswith("/blob/main/notebooks/adaptive_agnews.ipynb")
    unmeasured = rows[
        next(entry.id for entry in entries if entry.table.id == "table1" and entry.paper.key == "huq2022")
    ]
    assert [unmeasured[name] for name in ("Verdict", "Effect", "n", "Data")] == ["not attempted", "–", "0", "–"]
    no_chapter = rows[next(entry.id for entry in entries if entry.paper.key == "lee2020")]
    assert (no_chapter["Runs"], no_chapter["links"]) == ("–", [])
    # the ids that the ledger leads to are those that the chapters' tables have
    shown = report.comparison(HUQ, "table3", Measured(), "x").data + report.verdicts(HUQ, "table3").data
    chapter_ids = {element["id"] for element in BeautifulSoup(shown, "html.parser").select("[id]")}
    assert {link.split("#")[1] for entry in judged for link in rows[entry.id]["links"][:2]} <= chapter_ids


def test_tally_counts_verdicts_in_their_order_and_the_bar_has_their_shares(project):
    entries = ledger.entries(experiments={"adaptive_agnews"})
    verdicts = ["undecided", "reproduced", "undecided"]
    found = [
        replace(entry, verdict=replace(entry.verdict, verdict=verdict))
        for entry, verdict in zip(entries, verdicts, strict=False)
    ]
    link = BeautifulSoup(ledger_page.tally(found, "huq2022"), "html.parser").a
    assert link["href"] == "ledger.html#huq2022"
    assert [badge.text for badge in link.select(".verdict")] == ["1 reproduced", "2 undecided"]
    assert [part["style"] for part in link.select(".bar[aria-hidden=true] > span")] == ["flex-grow: 1", "flex-grow: 2"]
    assert ledger_page.tally([], "huq2022") == "–"


@pytest.mark.parametrize("table", [TABLE1, TABLE3], ids=lambda table: table.id)
def test_what_is_committed_fills_the_table(table):
    found = reproduction.reproduced(table)
    if not found.cells:
        pytest.skip(f"no records of {table.experiment} are committed yet")
    assert not found.problems
    rows = cells_of(report.comparison(HUQ, table.id, found, "cpu"))
    for row in table.rows:
        assert all(text != "–" for text, _ in rows[row.label])
