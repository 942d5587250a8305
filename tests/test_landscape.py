"""Many methods compared: improvements over single-task models, their cost, and how stable their order is."""

import math

import matplotlib.pyplot as plt
import pytest
import torch
from bs4 import BeautifulSoup
from made_up import a_record
from pydantic import ValidationError
from shared import without_details

from mtlutils import balancing, deltas, experiments, figures, folders, profiles, report, reproduction
from mtlutils.experiments.balancing_landscape import TASKS, LandscapeSettings
from mtlutils.stopwatch import allocations

STUDIES = ["", "cifar100", "rooms"]  # the first is of Multi-MNIST
LEFT_OUT: dict[str, tuple[list[str], str]] = {
    # Methods without runs in some of these, and why. A new one stands here until its records are committed.
}


def run(method, seed, metrics, dataset="pairs", seconds=0.01, memory=100, kind="real"):
    """A record with test metrics ``task/metric`` -> value; of None, it diverged."""
    return a_record(
        method=method,
        seed=seed,
        parameters={"dataset": dataset, "tasks": sorted({name.split("/")[0] for name in metrics})},
        metrics={f"test/{metric}/{task}": v for name, v in metrics.items() for task, metric in [name.split("/")]},
        timing={
            "total_seconds": 1.0,
            "seconds_per_step": 9.0,
            "processor_seconds_per_step": seconds,
            "steps": 1,
            "peak_memory_bytes": 1,
            "step_memory_bytes": memory,
        },
        data=a_record().data.model_dump() | {"kind": kind, "name": dataset},
    )


def single(seed, dataset="pairs", a=0.5, b=0.8):
    return [run("single_task", seed, {task: v}, dataset) for task, v in (("a/accuracy", a), ("b/accuracy", b))]


def pair(method, seed, a, b, **more):
    return run(method, seed, {"a/accuracy": a, "b/accuracy": b}, **more)


def table(shown):
    """Row -> texts of its cells, of each table."""
    page = without_details(shown)
    return [
        {row.th.text: [cell.text for cell in row.select("td")] for row in each.select("tbody tr")}
        for each in page.select("table")
    ]


def test_delta_m_is_the_mean_relative_improvement_over_the_same_seeds_single_task_models():
    found = [*single(0), *single(1, a=1.0), pair("m", 0, 0.6, 0.8), pair("m", 1, 0.6, 0.4)]
    assert deltas.over_single_task(found) == {"m": {0: pytest.approx(10), 1: pytest.approx(-45)}}


def test_metrics_of_a_task_are_averaged_first_and_lower_errors_are_better():
    baseline = {"depth/absolute_error": 2.0, "depth/relative_error": 0.5}
    found = [
        run("single_task", 0, baseline),
        run("single_task", 0, {"segmentation/miou": 0.2}),
        run("m", 0, {"depth/absolute_error": 1.0, "depth/relative_error": 0.5, "segmentation/miou": 0.1}),
    ]
    # depth: 50 % and 0 %; segmentation: -50 %
    assert deltas.over_single_task(found)["m"][0] == pytest.approx((25 - 50) / 2)


def test_losses_and_unknown_metrics_do_not_count():
    found = [*single(0), run("m", 0, {"a/accuracy": 0.5, "b/accuracy": 0.8, "a/loss": 7.0, "b/novelty": 1.0})]
    assert deltas.over_single_task(found)["m"][0] == 0


def test_a_diverged_run_has_no_improvement_and_takes_its_method_out_of_the_means():
    found = [*single(0), *single(1), pair("m", 0, None, None), pair("m", 1, 0.6, 0.8), pair("n", 0, 0.5, 0.8)]
    found_deltas = deltas.over_single_task(found)
    assert found_deltas["m"] == {0: None, 1: pytest.approx(10)}
    assert deltas.means(found_deltas) == {"n": 0}


def test_a_seed_without_single_task_models_of_every_task_has_no_improvement():
    found = [*single(0)[:1], pair("m", 0, 0.6, 0.8), *single(1), pair("m", 1, 0.5, 0.8)]
    assert deltas.over_single_task(found) == {"m": {1: 0}}


def test_rank_agreement():
    one = {name: {0: value, 1: -value} for name, value in zip("abc", (1.0, 2.0, 3.0), strict=True)}
    assert deltas.rank_agreement_of_seeds(one) == pytest.approx(-1)
    same = {name: {0: value} for name, value in zip("abc", (10.0, 20.0, 31.0), strict=True)}
    other = {name: {0: value} for name, value in zip("abc", (1.0, 3.0, 2.0), strict=True)}
    assert deltas.rank_agreement(same, other) == pytest.approx(0.5)  # 1 - 6 * 2 / (3 * 8)
    assert math.isnan(deltas.rank_agreement_of_seeds(same))
    assert math.isnan(deltas.rank_agreement(same, {"a": {0: 1.0}, "b": {0: 2.0}}))
    # Seeds 1 and 2 have two methods in common, too few for a correlation; the other pairs of seeds count all the same.
    some = {"a": {0: 0.0, 1: 0.0, 2: 1.0}, "b": {0: 1.0, 1: 1.0, 2: 2.0}, "c": {0: 2.0, 1: 2.0}}
    assert deltas.rank_agreement_of_seeds(some) == pytest.approx(1)


def test_seed_whose_single_task_model_diverged_is_left_out():
    found = [*single(0, a=None), *single(1), pair("m", 0, 0.5, 0.8), pair("m", 1, 0.5, 0.8)]
    assert deltas.over_single_task(found) == {"m": {1: 0}}


LANDSCAPE = [
    *single(0),
    *single(1),
    *(pair("equal", seed, 0.5, 0.8, seconds=0.01, memory=100) for seed in (0, 1)),
    *(pair("mgda", seed, 0.6, 0.8, seconds=0.02, memory=150) for seed in (0, 1)),
    *(pair("dwa", seed, *((None, None) if seed else (0.9, 0.9))) for seed in (0, 1)),
]


def test_table_is_sorted_by_improvement_and_shows_what_diverged_and_costs():
    (rows,) = table(report.landscape({"This run (made up)": LANDSCAPE}, "dataset"))
    assert list(rows) == ["mgda", "equal", "single_task", "dwa"]
    assert rows["mgda"] == ["gradients", "+10.00 ± 0.00", "60.00 ± 0.00", "80.00 ± 0.00", "2.00", "1.50"]
    assert rows["dwa"][1:4] == ["diverged", "90.00 (1 of 2 diverged)", "90.00 (1 of 2 diverged)"]
    assert [rows["single_task"][i] for i in (1, 4, 5)] == ["–", "–", "–"]


def test_every_data_set_has_its_own_table_and_a_stand_in_says_so():
    rooms = [
        run(m, 0, {"depth/absolute_error": v}, "rooms", kind="stand-in")
        for m, v in (("single_task", 2.0), ("equal", 1.0))
    ]
    shown = report.landscape({"Here": [*LANDSCAPE, *rooms]}, "dataset")
    captions = [caption.text for caption in BeautifulSoup(shown.data, "html.parser").select("caption")]
    assert [caption.split(",")[0] for caption in captions] == ["pairs", "rooms"]
    assert ["On a stand-in (rooms)" in caption for caption in captions] == [False, True]
    assert table(shown)[1]["equal"][1:3] == ["+50.00", "1.00"]


def test_rank_agreement_table_has_seeds_on_its_diagonal():
    names = ("equal", "mgda", "pcgrad")
    found = [*single(0), *single(1), *single(0, "other")]
    found += [pair(m, seed, 0.5 + i / 10, 0.8) for seed in (0, 1) for i, m in enumerate(names)]
    found += [pair(m, 0, 0.5 - i / 10, 0.8, dataset="other") for i, m in enumerate(names)]
    (rows,) = table(report.rank_agreement({"Here": found}, "dataset"))
    assert rows == {"pairs": ["+1.00", "-1.00"], "other": ["-1.00", "–"]}


def test_figures_show_every_method_and_name_the_front():
    figure = figures.improvements({"Here": LANDSCAPE}, "dataset")
    (axis,) = figure.subfigs[0].axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["mgda", "equal", "dwa"]
    crosses = [each for each in axis.lines if each.get_marker() == "x"]
    assert [each.get_ydata()[0] for each in crosses] == [2]
    plt.close(figure)
    figure = figures.improvement_against_cost({"Here": LANDSCAPE}, "dataset")
    assert [sorted({text.get_text() for text in axis.texts}) for axis in figure.subfigs[0].axes] == [
        ["equal", "mgda"]
    ] * 2
    plt.close(figure)


def test_family_of_a_method_with_options_and_of_one_that_is_not_registered():
    assert figures.family("single_step(alpha=0.001)") == "updates"
    assert figures.family("single_task") == "other"


def test_memory_of_a_step_is_the_peak_of_what_is_allocated_meanwhile():
    before = torch.ones(1000)
    with allocations() as highest:
        first = before + 1  # 4,000 bytes
        second = first + 1
        del first
        third = second + 1
    assert highest() == pytest.approx(8000, rel=0.01)  # and the ones
    del third


def test_a_study_within_a_study_has_the_inner_ones_values_where_it_has_any():
    given = {"seeds": [0], "rate": 1, "sweep_rate": [1, 2], "sweep_seeds": [5], "b_rate": 3, "b_sweep_rate": [3, 4]}
    found = profiles.of_study(given, "b.sweep")
    assert (found["rate"], found["seeds"]) == ([3, 4], [5])
    assert profiles.of_study(given, "b")["rate"] == 3


@pytest.mark.parametrize("dataset", TASKS)
def test_a_data_set_has_all_its_tasks_unless_some_are_named(dataset):
    assert LandscapeSettings(dataset=dataset).tasks == TASKS[dataset]
    assert LandscapeSettings(dataset=dataset, tasks=TASKS[dataset][:1]).tasks == TASKS[dataset][:1]


def test_a_task_of_another_data_set_is_refused():
    with pytest.raises(ValidationError, match="rooms has no task top-left"):
        LandscapeSettings(dataset="rooms", tasks=("top-left",))


@pytest.mark.parametrize("dataset", TASKS)
def test_runs_on_every_data_set(dataset, tmp_path):
    small = {"train_items": 8, "evaluated_items": 4, "batch_size": 4, "width": 1, "image_size": [32, 32]}
    if dataset == "cifar100":
        small["batch_size"] = 480  # all of the stand-in's at once
    experiment = experiments.load("balancing_landscape")
    record = experiment.run("slaw", 0, results=tmp_path, dataset=dataset, epochs=2, **small)
    assert not list((folders.cache() / "checkpoints").glob("*.pt"))  # there was one, after the first epoch
    assert record.status == "completed"
    assert {name.split("/")[2] for name in record.metrics} == set(TASKS[dataset])
    # The memory is that of the second step, where there is one.
    assert (record.timing.step_memory_bytes is None) == (record.timing.steps < 2)


@pytest.mark.parametrize("study", STUDIES)
def test_profile_runs_every_method_that_is_not_left_out_for_a_reason(study):
    parameters = profiles.parameters("cpu", "balancing_landscape")
    asked = {balancing.parse(method)[0] for method in profiles.of_study(parameters, study)["methods"]}
    left_out = {name: reason for name, (studies, reason) in LEFT_OUT.items() if study in studies}
    assert all(left_out.values())
    # Each once: what has been trained since is left out no longer.
    assert sorted([*asked, *left_out]) == sorted(["single_task", *balancing.names()])


def test_rate_of_single_task_models_is_the_one_that_validation_chooses():
    parameters = profiles.parameters("cpu", "balancing_landscape")
    found = reproduction.committed("balancing_landscape", profiles.of_study(parameters, "single"))
    rates = [record.parameters["learning_rate"] for record in found]
    n_each = 2 * len(parameters["single_seeds"])  # a model a digit
    assert {rate: rates.count(rate) for rate in rates} == dict.fromkeys(parameters["single_learning_rate"], n_each)
    assert parameters["baseline_learning_rate"] == reproduction.chosen_learning_rate(found, "single_task")
    # the same network on the same data
    sharing = profiles.parameters("cpu", "architectures")
    assert sharing["claims_baseline_learning_rate"] == parameters["baseline_learning_rate"]
