"""Experiments: parameters -> runs -> records, each made once."""

import ast
import dataclasses
import json
import math
import re
import struct
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import pytest
import torch
import yaml
from made_up import a_record
from papermill import inspect_notebook
from pydantic import Field

from mtlutils import balancing, experiments, folders, profiles, records, reproduction, training
from mtlutils.balancing.equal import Equal
from mtlutils.data import cifar100, cifar100_standin, multi_mnist
from mtlutils.errors import InputError
from mtlutils.experiments import Experiment, Settings
from mtlutils.models import lenet, wide_resnet
from mtlutils.records import Data, Timing
from mtlutils.training import Result

ROOT = Path(__file__).parents[1]
AGNEWS = experiments.load("adaptive_agnews")
CIFAR100 = experiments.load("adaptive_cifar100")
PAIRS = experiments.load("single_step_multimnist")
QUICK = {"epochs": 1, "train_rows": 200, "embedding_dim": 4, "hidden_dim": 4}


class MadeUpSettings(Settings):
    """Settings of every kind that an experiment may have."""

    rate: Annotated[float, Field(gt=0)] = 1.0
    epochs: Annotated[int, Field(ge=1)] = 2
    tasks: tuple[Literal["a", "b"], ...] = Field(("a", "b"), min_length=1)


@pytest.fixture
def measured():
    """The runs that were measured, in order."""
    return []


@pytest.fixture
def made_up(measured):
    """An experiment that measures nothing, and says what it was asked to."""

    def measure(run, device):
        measured.append((run.method, run.seed, run.parameters))
        data = Data(name="made up", kind="real", description="made up", checksums={"train.csv": "md5:0"}, sizes={})
        timing = Timing(total_seconds=1.0, seconds_per_step=None, steps=0, peak_memory_bytes=None)
        return data, Result("completed", "", None, {}, {"seed": float(run.seed)}, timing)

    return Experiment("made_up", MadeUpSettings, measure)


def listed(runs):
    return [(run.method, run.seed, run.settings.rate, run.settings.tasks) for run in runs]


# Plans


def test_every_method_with_every_seed(made_up):
    both = ("a", "b")
    assert listed(made_up.plan(["equal", "dwa"], [0, 3])) == [
        ("equal", 0, 1.0, both),
        ("equal", 3, 1.0, both),
        ("dwa", 0, 1.0, both),
        ("dwa", 3, 1.0, both),
    ]


def test_single_task_is_a_run_a_task(made_up):
    assert listed(made_up.plan(["single_task", "equal"], [0])) == [
        ("single_task", 0, 1.0, ("a",)),
        ("single_task", 0, 1.0, ("b",)),
        ("equal", 0, 1.0, ("a", "b")),
    ]
    assert listed(made_up.plan(["single_task"], [0], tasks=["b"])) == [("single_task", 0, 1.0, ("b",))]


def test_list_stands_for_each_of_its_values(made_up):
    runs = made_up.plan(["equal"], [0], rate=[1, 2], epochs=[3, 4])
    assert [(run.settings.rate, run.settings.epochs) for run in runs] == [(1.0, 3), (1.0, 4), (2.0, 3), (2.0, 4)]
    assert made_up.plan(["equal"], [0], rate=(1, 2)) == made_up.plan(["equal"], [0], rate=[1, 2])


def test_tasks_are_one_value(made_up):
    assert listed(made_up.plan(["equal"], [0], tasks=["b", "a"])) == [("equal", 0, 1.0, ("b", "a"))]


def test_same_run_is_planned_once(made_up):
    runs = made_up.plan(["equal", "adaptive(detach=true)", "adaptive( detach = yes )"], [0, 0], rate=[1, 1.0, 2])
    assert len(runs) == 2 * 2
    assert len({run.path for run in runs}) == 4


def test_sweep_takes_methods_from_an_iterator(made_up):
    assert made_up.plan(iter(["equal", "dwa"]), iter([0, 1]), rate=[1, 2]) == made_up.plan(
        ["equal", "dwa"], [0, 1], rate=[1, 2]
    )


def test_lists_as_papermill_hands_them_over(made_up):
    expected = made_up.plan(["equal", "adaptive(detach=false)"], [0, 1], rate=[1, 2], tasks=["a"])
    given = made_up.plan('["equal", "adaptive(detach=false)"]', "[0, 1]", rate="[1, 2]", tasks='["a"]')
    assert given == expected


def test_notebook_runs_its_methods_and_its_sweep():
    parameters = {"methods": ["equal", "dwa"], "seeds": [0, 1, 2], "learning_rate": 0.5, "epochs": 3, "profile": "mine"}
    main = AGNEWS.plan(["equal", "dwa"], [0, 1, 2], learning_rate=0.5, epochs=3)
    assert AGNEWS.plan_notebook(parameters) == main
    sweep = AGNEWS.plan(["equal", "dwa"], [0, 5], learning_rate=[0.1, 0.5], epochs=3)
    with_sweep = parameters | {"sweep_learning_rate": [0.1, 0.5], "sweep_seeds": [0, 5]}
    runs = AGNEWS.plan_notebook(with_sweep)
    assert set(runs) == {*main, *sweep}
    assert len(runs) == 6 + 8 - 2  # seed 0 at 0.5 is in both


def test_notebook_of_pairs_runs_its_studies():
    parameters = {
        "methods": ["equal", "split_only"],
        "seeds": [0, 1],
        "dataset": ["mnist", "fashion"],
        "learning_rate": 0.5,
        "epochs": 3,
        "sweep_methods": ["equal"],
        "sweep_learning_rate": [0.25, 0.5],
        "tuned_methods": ["single_step"],
        "tuned_seeds": [7],
        "tuned_learning_rate": [0.25],
        "alphas_methods": ["single_step(alpha: 0.01)"],
        "alphas_dataset": ["mnist"],
        "accelerated_methods": ["split_only"],
        "accelerated_seeds": [0],
        "accelerated_dataset": ["fashion"],
        "accelerated_momentum": 0.9,
        "accelerated_learning_rate": 0.05,
        "longer_methods": ["equal"],
        "longer_seeds": [1],
        "longer_epochs": 6,
    }
    both, settings = ["mnist", "fashion"], {"learning_rate": 0.5, "epochs": 3}
    expected = [
        PAIRS.plan(["equal", "split_only"], [0, 1], dataset=both, **settings),
        PAIRS.plan(["equal"], [0, 1], dataset=both, **(settings | {"learning_rate": 0.25})),
        PAIRS.plan(["single_step"], [7], dataset=both, **(settings | {"learning_rate": 0.25})),
        PAIRS.plan(["single_step(alpha=0.01)"], [0, 1], dataset="mnist", **settings),
        PAIRS.plan(["split_only"], [0], dataset="fashion", momentum=0.9, **(settings | {"learning_rate": 0.05})),
        PAIRS.plan(["equal"], [1], dataset=both, **(settings | {"epochs": 6})),
    ]
    runs = PAIRS.plan_notebook(parameters)
    assert set(runs) == {run for study in expected for run in study}
    assert len(runs) == 8 + 4 + 2 + 2 + 1 + 2


def test_study_runs_what_is_planned_for_it_whatever_else_has_a_name(made_up, tmp_path):
    parameters = {"methods": ["equal"], "seeds": [0], "rate": 1.0, "sweep_rate": [1.0, 2.0], "results": str(tmp_path)}
    around = parameters | {"device": "cpu", "plot": print, "_private": 1}
    found = made_up.run_study(around, "sweep")
    assert [record.parameters["rate"] for record in found] == [1.0, 2.0]
    assert found == made_up.runs(["equal"], [0], rate=[1.0, 2.0], results=tmp_path)
    assert made_up.run_study(around) == found[:1]


def test_path_is_in_the_results_folder_or_a_scratch_folder(made_up, tmp_path):
    (run,) = made_up.plan(["equal"], [0], results=tmp_path)
    assert run.path == records.path_for(tmp_path, "made_up", "equal", 0, run.parameters)
    (run,) = made_up.plan(["equal"], [0])
    assert run.path.is_relative_to(records.scratch())


def test_checkpoint_is_in_the_cache_and_that_of_other_code_data_or_runs_is_another(
    made_up, folders_of_the_test, monkeypatch
):
    first, second = made_up.plan(["equal"], [0, 1])
    data = a_record().data
    before = first.checkpoint(data)
    assert before.is_relative_to(folders_of_the_test)
    assert before != second.checkpoint(data)
    assert before != first.checkpoint(data.model_copy(update={"checksums": {"file": "sha256:other"}}))
    monkeypatch.setattr(records, "source_digest", lambda: "0" * 12)
    assert first.checkpoint(data) != before


def test_command_of_a_run_makes_that_run(monkeypatch, tmp_path):
    from mtlutils import __main__ as command_line

    runs = AGNEWS.plan(["single_task", "adaptive(detach=false)"], [3], results=tmp_path, learning_rate=0.25)
    asked = []

    def stand_in_for_runs(self, *arguments, device, **parameters):
        asked.extend(self.plan(*arguments, **parameters))
        return []

    monkeypatch.setattr(Experiment, "runs", stand_in_for_runs)
    for run in runs:
        monkeypatch.setattr(sys, "argv", ["mtlutils", *run.command])
        command_line.main()
    assert len(runs) == 3
    assert asked == runs


# What a user can get wrong


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"methods": ["nonesuch"]}, "unknown method 'nonesuch'; there are: adaptive, .*dwa, equal.*single_task"),
        ({"methods": ["dwa(temperature=-1)"]}, "temperature"),
        ({"methods": ["single_task(x=1)"]}, "unknown method 'single_task\\(x=1\\)'"),
        ({"methods": [""]}, "'' is not a method"),
        ({"methods": [None]}, "None"),
        ({"methods": [1]}, "unknown method 1"),
        ({"methods": [{"dwa": 1}]}, "is not a method"),
        ({"methods": "equal"}, "methods: must be a list, got 'equal'"),
        ({"methods": "[equal"}, r"\[equal"),
        ({"methods": None}, "methods: must be a list, got None"),
        ({"seeds": [-1]}, "seeds: must be whole numbers from 0, got -1"),
        ({"seeds": [0, 1.5]}, "seeds: must be whole numbers from 0, got 1.5"),
        ({"seeds": ["0"]}, "seeds: must be whole numbers from 0, got '0'"),
        ({"seeds": [True]}, "seeds: must be whole numbers from 0, got True"),
        ({"seeds": 3}, "seeds: must be a list, got 3"),
        ({"epochs": -1}, "epochs: .*greater than or equal to 1, got -1"),
        ({"epochs": [5, 0]}, "epochs: .*got 0"),
        ({"epochs": "many"}, "epochs: .*integer.*got 'many'"),
        ({"epochs": 1.5}, "epochs: .*got 1.5"),
        ({"epochs": None}, "epochs: .*got None"),
        ({"rate": 0}, "rate: .*greater than 0, got 0"),
        ({"rate": math.nan}, "rate: .*got nan"),
        ({"rate": math.inf}, "rate: .*got inf"),
        ({"rate": [1, math.inf]}, "rate: .*got inf"),
        ({"tasks": []}, "tasks: .*at least 1"),
        ({"tasks": ["c"]}, "tasks.0: .*got 'c'"),
        ({"tasks": "a"}, "tasks: .*tuple, got 'a'"),
        ({"epoch": 3}, "unknown parameter 'epoch'; there are: rate, epochs, tasks"),
    ],
)
def test_wrong_parameter_is_one_line(made_up, measured, given, message):
    arguments = {"methods": ["equal"], "seeds": [0]} | given
    with pytest.raises(InputError, match=message) as error:
        made_up.runs(**arguments)
    assert "\n" not in str(error.value)
    assert not measured


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "fake"}, "data: .*'stand-in' or 'real', got 'fake'"),
        ({"train_rows": 39}, "train_rows: .*40, got 39"),
        ({"grouping": "odd"}, "grouping: .*got 'odd'"),
        ({"schedule": "cosine"}, "schedule: .*got 'cosine'"),
        ({"validation_fraction": 1}, "validation_fraction: .*less than 1, got 1"),
        ({"batch_size": 0}, "batch_size: .*got 0"),
        ({"tasks": ["3-class"]}, "tasks.0: .*got '3-class'"),
        ({"train_rows": 5000}, "has 2,000 rows"),
        ({"data": "real"}, "set MTLUTILS_DATA"),
        ({"device": "abacus"}, "device 'abacus' is not available"),
    ],
)
def test_wrong_parameter_of_agnews_is_one_line(given, message):
    with pytest.raises(InputError, match=message) as error:
        AGNEWS.runs(["equal"], [0], **given)
    assert "\n" not in str(error.value)


def test_single_task_needs_tasks():
    with pytest.raises(InputError, match=r"unknown method 'single_task'; there are: (?!.*single_task)"):
        experiments.load("weighting_cost").plan(["single_task"], [0])


def test_wrong_option_is_told_before_anything_is_measured(made_up, measured):
    with pytest.raises(InputError, match="hour"):
        made_up.runs(["equal", "adaptive(every=hour)"], [0])
    assert not measured


def test_unknown_experiment():
    known = "adaptive_agnews, adaptive_cifar100, .*, weighting_cost"
    with pytest.raises(InputError, match=f"unknown experiment 'nonesuch'; there are: {known}$"):
        experiments.load("nonesuch")


@pytest.mark.parametrize("name", experiments.names())
def test_every_experiment_has_its_own_name_and_a_notebook(name):
    assert experiments.load(name).name == name
    assert (ROOT / "notebooks" / f"{name}.ipynb").is_file()


# Runs


def test_runs_are_made_once(made_up, measured, tmp_path):
    first = made_up.runs(["equal"], [0, 1], results=tmp_path)
    assert measured == [("equal", seed, {"rate": 1.0, "epochs": 2, "tasks": ["a", "b"]}) for seed in (0, 1)]
    more = made_up.runs(["dwa", "equal"], [1, 2], results=tmp_path)
    assert [(method, seed) for method, seed, _ in measured[2:]] == [("dwa", 1), ("dwa", 2), ("equal", 2)]
    # in the order asked for, whether loaded or made
    assert [(record.method, record.seed) for record in more] == [("dwa", 1), ("dwa", 2), ("equal", 1), ("equal", 2)]
    assert more[2] == first[1]
    assert made_up.runs(["equal"], [1], results=tmp_path) == [first[1]]
    assert len(measured) == 5


def test_finished_runs_are_kept_when_a_later_one_is_interrupted(made_up, measured, tmp_path):
    def measure(run, device):
        if run.seed == 2 and len(measured) == 2:
            raise KeyboardInterrupt
        return made_up.measure(run, device)

    interrupted = dataclasses.replace(made_up, measure=measure)
    with pytest.raises(KeyboardInterrupt):
        interrupted.runs(["equal"], range(4), results=tmp_path)
    assert len(records.read_all(tmp_path)[0]) == 2
    assert len(made_up.runs(["equal"], range(4), results=tmp_path)) == 4
    assert [seed for _, seed, _ in measured] == [0, 1, 2, 3]


def test_record_says_what_ran_on_what_and_when(made_up, tmp_path):
    (record,) = made_up.runs(["adaptive( every = epoch )"], [7], results=tmp_path, rate=2)
    assert (record.experiment, record.method, record.seed) == ("made_up", "adaptive(every=epoch)", 7)
    assert record.parameters == {"rate": 2.0, "epochs": 2, "tasks": ["a", "b"]}
    assert record.source == records.source()
    assert record.source.digest == records.source_digest()
    assert record.environment.versions["torch"] == version("torch")
    assert record.environment.threads == torch.get_num_threads() == made_up.threads
    assert record.started.utcoffset().total_seconds() == 0
    assert records.read_all(tmp_path) == ([record], [])


def test_run_is_one_of_runs(made_up, measured, tmp_path):
    record = made_up.run("equal", 0, results=tmp_path)
    assert made_up.runs(["equal"], [0], results=tmp_path) == [record]
    assert len(measured) == 1
    with pytest.raises(InputError, match="is 2 runs"):
        made_up.run("single_task", 0, results=tmp_path)
    assert made_up.run("single_task", 0, results=tmp_path, tasks=["a"]).parameters["tasks"] == ["a"]


def test_results_folder_is_below_the_project_wherever_one_works(made_up, measured, tmp_path, monkeypatch):
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made_up.runs(["equal"], [0], results="results")
    assert len(list((tmp_path / "results" / "made_up").glob("equal-seed0-*.json"))) == 1
    made_up.runs(["equal"], [0], results="results")
    monkeypatch.chdir(tmp_path)
    made_up.runs(["equal"], [0], results="results")
    assert len(measured) == 1


def test_broken_record_is_made_again_with_a_warning(made_up, measured, tmp_path):
    first, second = made_up.runs(["equal"], [0, 1], results=tmp_path)
    (path,) = tmp_path.glob("made_up/equal-seed0-*.json")
    path.write_bytes(path.read_bytes().rstrip()[:-1])
    with pytest.warns(UserWarning, match=rf"{path.name}: not a valid run record .*; it is made again") as found:
        again = made_up.runs(["equal"], [0, 1], results=tmp_path)
    assert len(found) == 1
    assert [seed for _, seed, _ in measured] == [0, 1, 0]
    assert again[0].outcome() == first.outcome()
    assert again[1] == second
    assert records.read(path) == again[0]


class WithPrecision(MadeUpSettings):
    precision: Literal["fp32", "bf16"] = "fp32"


@pytest.mark.parametrize(
    ("precision", "capabilities", "warned"),
    [
        ("bf16", {"avx2": True, "avx512_bf16": False}, True),
        ("bf16", {"avx512_bf16": True}, False),
        ("bf16", {"amx_bf16": True}, False),
        ("bf16", {"neon": True, "bf16": True}, False),
        ("fp32", {"avx2": True}, False),
    ],
)
def test_precision_that_is_slow_on_this_processor(made_up, tmp_path, monkeypatch, precision, capabilities, warned):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    precise = dataclasses.replace(made_up, settings=WithPrecision)
    for n_warnings in (warned, 0):  # the second time nothing is trained
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            precise.runs(["equal"], [0], results=tmp_path, device="cpu", precision=precision)
        assert ["no instructions for bf16" in str(each.message) for each in found] == [True] * n_warnings


@pytest.mark.parametrize(
    ("at_hand", "warned"),
    [
        ({}, False),
        ({"train.csv": "md5:0"}, False),
        ({"train.csv": "md5:1"}, True),
        ({"train.csv": "md5:0", "of another set": "md5:2"}, False),
    ],
)
def test_records_of_other_files_than_those_at_hand(made_up, tmp_path, at_hand, warned):
    made_up.runs(["equal"], [0], results=tmp_path)
    other = dataclasses.replace(made_up, checksums=lambda: at_hand)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        other.runs(["equal"], [0], results=tmp_path)
    assert [("other files than those at hand" in str(each.message)) for each in found] == [True] * warned


def test_scratch_records_are_used_again(made_up, measured):
    made_up.runs(["equal"], [0])
    made_up.runs(["equal"], [0])
    assert len(measured) == 1


# The experiments themselves


@pytest.fixture(scope="module")
def agnews_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("agnews")


@pytest.mark.parametrize(
    "method", ["equal", "uncertainty", "revised_uncertainty", "dwa", "adaptive", "adaptive(every=epoch)"]
)
def test_agnews_on_the_standin(agnews_folder, method):
    record = AGNEWS.run(method, 0, results=agnews_folder, **QUICK)
    assert record.status == "completed"
    assert record.data.kind == "stand-in"
    assert record.data.sizes == {"train": 180, "validation": 20, "test": 1000}
    for task in ("2-class", "4-class"):
        assert 0 < record.metrics[f"test/accuracy/{task}"] <= 1
        assert len(record.curves[f"train/weight/{task}"]) == 1
    assert not record_checkpoints()


@pytest.mark.parametrize("method", balancing.names())
def test_every_method_learns_from_texts(agnews_folder, method):
    # The embedding's gradient is sparse, and PyTorch cannot differentiate it once more.
    settings = QUICK | {"train_rows": 40}
    if method == "orthogonal":
        with pytest.raises(InputError, match=r"cannot be differentiated twice.*_embedding_bag"):
            AGNEWS.run(method, 1, results=agnews_folder, **settings)
    else:
        record = AGNEWS.run(method, 1, results=agnews_folder, **settings)
        assert record.status == "completed", record.message


def record_checkpoints():
    return list((folders.cache() / "checkpoints").glob("*"))


def test_agnews_by_single_tasks(agnews_folder):
    of_two, of_four = AGNEWS.runs(["single_task"], [0], results=agnews_folder, **QUICK)
    assert (of_two.parameters["tasks"], of_four.parameters["tasks"]) == (["2-class"], ["4-class"])
    assert "test/accuracy/2-class" in of_two.metrics
    assert "test/accuracy/4-class" not in of_two.metrics
    assert "test/accuracy/4-class" in of_four.metrics


def test_agnews_again_gives_the_same_outcome(agnews_folder, tmp_path):
    first = AGNEWS.run("adaptive", 0, results=agnews_folder, **QUICK)
    assert AGNEWS.run("adaptive", 0, results=tmp_path, **QUICK).outcome() == first.outcome()
    other = AGNEWS.run("adaptive", 1, results=tmp_path, **QUICK)
    assert other.metrics != first.metrics


def test_seed_decides_where_agnews_starts(tmp_path):
    # at next to no learning rate, where it starts is where it ends
    first, second = AGNEWS.runs(["equal"], [0, 1], results=tmp_path, learning_rate=1e-9, **QUICK)
    assert first.metrics["test/loss/4-class"] != pytest.approx(second.metrics["test/loss/4-class"], rel=1e-5)


def test_agnews_methods_learn_more_than_chance():
    record = AGNEWS.run("equal", 0, epochs=5)
    assert record.metrics["test/accuracy/2-class"] > 0.6
    assert record.metrics["test/accuracy/4-class"] > 0.35


def test_agnews_interrupted_resumes_at_the_last_epoch(tmp_path, monkeypatch):
    from mtlutils.data.text import TextSplit

    settings = QUICK | {"epochs": 4}
    expected = AGNEWS.run("dwa", 0, results=tmp_path / "whole", **settings)
    batches, epochs = TextSplit.batches, []

    def interrupted(self, batch_size, generator=None):
        if generator is not None:
            epochs.append(1)
            if len(epochs) == 3:
                raise KeyboardInterrupt
        return batches(self, batch_size, generator)

    monkeypatch.setattr(TextSplit, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AGNEWS.run("dwa", 0, results=tmp_path / "parts", **settings)
    assert len(record_checkpoints()) == 1
    assert not (tmp_path / "parts").exists()
    record = AGNEWS.run("dwa", 0, results=tmp_path / "parts", **settings)
    assert record.outcome() == expected.outcome()
    assert len(epochs) == 3 + 2
    assert not record_checkpoints()


@pytest.fixture
def small_images(monkeypatch):
    """A stand-in of 200 training and 100 test images, whatever its usual size."""
    from mtlutils.experiments import adaptive_cifar100

    generate = cifar100_standin.generate
    monkeypatch.setattr(cifar100_standin, "generate", lambda *args, **options: generate(n_train=200, n_test=100))
    adaptive_cifar100._load.cache_clear()  # it knows no other size
    yield
    adaptive_cifar100._load.cache_clear()


@pytest.fixture(scope="module")
def images_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


SMALL = {"epochs": 1, "validation_fraction": 0.5, "batch_size": 40}
IMAGE_TASKS = ["2-class", "3-class", "4-class", "5-class", "100-class"]


@pytest.mark.parametrize("method", ["equal", "uncertainty", "adaptive(every=epoch)"])
def test_cifar100_on_the_standin(small_images, images_folder, method):
    record = CIFAR100.run(method, 0, results=images_folder, **SMALL)
    assert record.status == "completed"
    assert record.data.kind == "stand-in"
    assert record.data.sizes == {"train": 100, "validation": 100, "test": 100}
    assert record.timing.steps == 3
    assert record.parameters["tasks"] == IMAGE_TASKS
    for task in IMAGE_TASKS:
        assert 0 <= record.metrics[f"test/accuracy/{task}"] <= 1
        assert len(record.curves[f"train/weight/{task}"]) == 1
    assert record.curves["train/step_length"][0] > 0
    assert not record_checkpoints()


def test_cifar100_by_single_tasks(small_images, tmp_path):
    runs = CIFAR100.plan(["single_task", "equal"], [0, 1], results=tmp_path)
    assert [(run.seed, run.settings.tasks) for run in runs] == [
        *[(seed, (task,)) for seed in (0, 1) for task in IMAGE_TASKS],
        *[(seed, tuple(IMAGE_TASKS)) for seed in (0, 1)],
    ]
    three, hundred = CIFAR100.runs(["single_task"], [0], results=tmp_path, tasks=["3-class", "100-class"], **SMALL)
    for record, task in ((three, "3-class"), (hundred, "100-class")):
        assert record.parameters["tasks"] == [task]
        assert {name.split("/")[-1] for name in record.metrics} == {task}
        assert record.curves[f"train/weight/{task}"] == [1]
    # A single task is the same as all of them with equal weights when it is the only one.
    alone = CIFAR100.run("equal", 0, results=tmp_path, tasks=["3-class"], **SMALL)
    assert alone.metrics == three.metrics


def test_cifar100_again_gives_the_same_outcome(small_images, images_folder, tmp_path):
    first = CIFAR100.run("equal", 0, results=images_folder, **SMALL)
    again, other = CIFAR100.runs(["equal"], [0, 1], results=tmp_path, **SMALL)
    assert again.outcome() == first.outcome()
    assert other.metrics != first.metrics


def test_cifar100_interrupted_resumes_at_the_last_epoch(small_images, tmp_path, monkeypatch):
    from mtlutils.data.images import ImageSplit

    settings = SMALL | {"epochs": 2, "tasks": ["2-class", "5-class"]}
    expected = CIFAR100.run("dwa", 0, results=tmp_path / "whole", **settings)
    batches, epochs = ImageSplit.batches, []

    def interrupted(self, batch_size, generator=None):
        if generator is not None:
            epochs.append(1)
            if len(epochs) == 2:
                raise KeyboardInterrupt
        return batches(self, batch_size, generator)

    monkeypatch.setattr(ImageSplit, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        CIFAR100.run("dwa", 0, results=tmp_path / "parts", **settings)
    assert len(record_checkpoints()) == 1
    record = CIFAR100.run("dwa", 0, results=tmp_path / "parts", **settings)
    assert record.outcome() == expected.outcome()
    assert len(epochs) == 2 + 1
    assert not record_checkpoints()


@pytest.fixture
def ask(monkeypatch):
    """What an experiment's training is asked to do with a method, a seed and settings; nothing is trained."""

    class Asked(Exception):
        pass

    def train(**asked):
        raise Asked(asked)

    def ask(experiment, method, seed, **settings):
        (run,) = experiment.plan([method], [seed], **settings)
        with pytest.raises(Asked) as asked:
            experiment.measure(run, torch.device("cpu"))
        return asked.value.args[0] | {"run": run}

    monkeypatch.setattr(training, "train", train)
    return ask


def test_ag_news_trains_as_its_settings_say(ask):
    settings = {"tasks": ["4-class", "2-class"], "embedding_dim": 6, "hidden_dim": 3}
    as_given = {"epochs": 7, "batch_size": 32, "schedule": "one_cycle"}
    asked = ask(AGNEWS, "uncertainty", 5, learning_rate=0.03, **settings, **as_given)
    assert {name: asked[name] for name in (*as_given, "seed")} == {**as_given, "seed": 5}
    assert list(asked["losses"]) == list(asked["metrics"]) == list(asked["model"].heads) == ["4-class", "2-class"]
    assert [(head.in_features, head.out_features) for head in asked["model"].heads.values()] == [(3, 4), (3, 2)]
    assert 6 in {each.shape[-1] for each in asked["model"].shared_parameters()}
    (group,) = asked["optimizer"].param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.03, 0, 0)
    together = [*asked["model"].parameters(), *asked["balancer"].parameters()]
    assert [id(each) for each in group["params"]] == [id(each) for each in together]


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_hands_train_as_their_settings_say(ask, optimizer):
    sizes = {"train_images": 24, "validation_images": 12, "test_images": 12}
    as_given = {"epochs": 7, "batch_size": 8}
    settings = {"tasks": ["hand", "count"], "size": 16, "optimizer": optimizer, "learning_rate": 0.03}
    asked = ask(experiments.load("fingers"), "uncertainty", 5, **settings, **sizes, **as_given)
    assert {name: asked[name] for name in (*as_given, "seed")} == {**as_given, "seed": 5}
    assert [len(split) for split in asked["splits"].values()] == list(sizes.values())
    assert list(asked["losses"]) == list(asked["metrics"]) == list(asked["model"].heads) == ["hand", "count"]
    (group,) = asked["optimizer"].param_groups
    expected = {"adam": (torch.optim.Adam, None), "sgd": (torch.optim.SGD, 0.9)}[optimizer]
    assert (type(asked["optimizer"]), group.get("momentum")) == expected
    assert (group["lr"], group["weight_decay"]) == (0.03, 0)
    together = [*asked["model"].parameters(), *asked["balancer"].parameters()]
    assert [id(each) for each in group["params"]] == [id(each) for each in together]


@pytest.fixture
def trained(small_images, ask):
    """What CIFAR-100's training is asked to do."""
    return lambda method="equal", seed=0, **settings: ask(CIFAR100, method, seed, **(SMALL | settings))


def targets_of(asked, split="train"):
    return {task: classes.tolist() for task, classes in asked["splits"][split].targets.items()}


def test_random_grouping_of_cifar100_is_drawn_by_the_seed_and_the_others_are_not(trained):
    for grouping in ("contiguous", "superclass"):
        first, other = (trained(seed=seed, grouping=grouping)["splits"]["train"] for seed in (0, 1))
        assert first is other  # nor are the data loaded again
    first, again, other = (trained(seed=seed, grouping="random") for seed in (3, 3, 4))
    for split in ("train", "validation", "test"):
        assert targets_of(first, split) == targets_of(again, split)
        for task in IMAGE_TASKS:
            same = targets_of(first, split)[task] == targets_of(other, split)[task]
            assert same == (task == "100-class")
    # only the grouping is: all see the same images
    assert torch.equal(first["splits"]["train"].images, other["splits"]["train"].images)


def test_groupings_of_cifar100_differ(trained):
    of_three = [targets_of(trained(grouping=name))["3-class"] for name in ("contiguous", "superclass", "random")]
    assert of_three[0] != of_three[1] != of_three[2] != of_three[0]


def test_cifar100_trains_as_its_settings_say(trained):
    asked = trained(
        "uncertainty",
        seed=5,
        tasks=["5-class", "2-class"],
        depth=16,
        width=2,
        epochs=7,
        batch_size=32,
        learning_rate=0.03,
        schedule="constant",
        momentum=0.8,
        weight_decay=0.01,
        precision="bf16",
        augment=False,
    )
    assert {name: asked[name] for name in ("epochs", "batch_size", "seed", "schedule", "precision", "step_length")} == {
        "epochs": 7,
        "batch_size": 32,
        "seed": 5,
        "schedule": "constant",
        "precision": "bf16",
        "step_length": True,
    }
    assert list(asked["losses"]) == list(asked["metrics"]) == list(asked["model"].heads) == ["5-class", "2-class"]
    assert [head.out_features for head in asked["model"].heads.values()] == [5, 2]
    expected = wide_resnet(16, 2, {"5-class": 5, "2-class": 2})
    shapes = {name: each.shape for name, each in expected.named_parameters()}
    assert {name: each.shape for name, each in asked["model"].named_parameters()} == shapes
    for each in asked["model"].parameters():
        assert each.ndim != 4 or each.is_contiguous(memory_format=torch.channels_last)
    # Decay pulls at the network alone, and not at what the method learns.
    network, learned = asked["optimizer"].param_groups
    assert [id(each) for each in network["params"]] == [id(each) for each in asked["model"].parameters()]
    assert [id(each) for each in learned["params"]] == [id(each) for each in asked["balancer"].parameters()]
    assert [len(learned["params"]), network["weight_decay"], learned["weight_decay"]] == [1, 0.01, 0]
    for group in (network, learned):
        assert (group["lr"], group["momentum"]) == (0.03, 0.8)
    assert {name: split.padding for name, split in asked["splits"].items()} == {
        "train": None,
        "validation": None,
        "test": None,
    }
    assert trained()["splits"]["train"].padding == 4


def test_cifar100_is_measured_on_the_test_images_and_chosen_on_others(trained):
    splits = trained()["splits"]
    found = {name: {image.tobytes() for image in split.images.numpy()} for name, split in splits.items()}
    generated = {name: {image.tobytes() for image in part[0]} for name, part in cifar100_standin.generate().items()}
    assert found["test"] == generated["test"]
    assert found["train"] | found["validation"] == generated["train"]
    assert not found["train"] & found["validation"]


def test_seed_decides_where_cifar100_starts(trained):
    weights = [trained(seed=seed)["model"].encoder[0].weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "fake"}, "data: .*'stand-in' or 'real', got 'fake'"),
        ({"tasks": ["6-class"]}, "tasks.0: .*got '6-class'"),
        ({"grouping": "odd"}, "grouping: .*got 'odd'"),
        ({"depth": 9}, "depth: .*10, got 9"),
        ({"depth": 12}, "depth 10, 16, 22, .*got 12-1"),
        ({"width": 0}, "width: .*got 0"),
        ({"batch_size": 1}, "batch_size: .*2, got 1"),
        ({"momentum": 1}, "momentum: .*less than 1, got 1"),
        ({"weight_decay": -0.1}, "weight_decay: .*got -0.1"),
        ({"precision": "fp16"}, "precision: .*got 'fp16'"),
        ({"schedule": "cosine"}, "schedule: .*got 'cosine'"),
        ({"validation_fraction": 0.001}, "change validation_fraction"),
        ({"data": "real"}, "data get cifar100.*set MTLUTILS_DATA"),
    ],
)
def test_wrong_parameter_of_cifar100_is_one_line(small_images, given, message):
    with pytest.raises(InputError, match=message) as error:
        CIFAR100.runs(["equal"], [0], **(SMALL | given))
    assert "\n" not in str(error.value)


def test_standin_can_be_split_at_the_default_settings():
    settings = CIFAR100.settings()
    data = cifar100.load(settings.data, validation_fraction=settings.validation_fraction)
    for part in (data.train, data.validation, data.test):
        assert part.targets["100-class"].bincount().min() > 0


def test_records_of_cifar100_are_read_where_there_are_no_images():
    assert CIFAR100.checksums() == {}


def test_cifar100_on_the_standin_needs_no_real_files_and_minds_no_broken_ones(small_images):
    folder = folders.data() / "cifar-100-python"
    folder.mkdir(parents=True)
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes(b"broken")
    assert CIFAR100.run("equal", 0, **SMALL).data.kind == "stand-in"


FEW = {"epochs": 1, "train_pairs": 40, "validation_pairs": 20, "test_pairs": 30, "batch_size": 16, "trace": 2}
PAIR = ["top-left", "bottom-right"]


@pytest.fixture(scope="module")
def pairs_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pairs")


@pytest.mark.parametrize(
    "method", ["equal", "uncertainty", "gradnorm", "pareto_mtl(preference=0)", "split_only", "single_step(alpha=0.001)"]
)
def test_pairs_on_the_standin(pairs_folder, method):
    record = PAIRS.run(method, 0, results=pairs_folder, **FEW)
    assert (record.status, record.method) == ("completed", method)
    assert record.data.kind == "stand-in"
    assert record.data.sizes == {"train": 40, "validation": 20, "test": 30}
    assert record.timing.steps == 3
    assert record.timing.processor_seconds_per_step > 0
    assert record.parameters["tasks"] == PAIR
    is_single_step, in_turns = "single_step" in method, "single_step" in method or method == "split_only"
    for task in PAIR:
        assert 0 <= record.metrics[f"test/accuracy/{task}"] <= 1
        assert len(record.curves[f"validation/loss/{task}"]) == 1
        assert (f"train/weight/{task}" in record.curves) == (not in_turns)
    assert {name: len(values) for name, values in record.traces.items()} == (
        {f"step/{what}/{task}": 2 for what in ("loss", "stepped_loss") for task in PAIR} if is_single_step else {}
    )
    assert records.read_all(pairs_folder)[0].count(record) == 1
    assert not record_checkpoints()


def test_pairs_by_single_tasks(tmp_path):
    first, second = PAIRS.runs(["single_task"], [0], results=tmp_path, **FEW)
    for record, task in ((first, "top-left"), (second, "bottom-right")):
        assert record.parameters["tasks"] == [task]
        assert {name.split("/")[-1] for name in record.metrics} == {task}
    # A single task is the same as both with equal weights when it is the only one.
    alone = PAIRS.run("equal", 0, results=tmp_path, tasks=["bottom-right"], **FEW)
    assert alone.metrics == second.metrics


def test_pairs_again_give_the_same_outcome(tmp_path):
    first, other = PAIRS.runs(["single_step"], [0, 1], results=tmp_path / "first", **FEW)
    assert PAIRS.run("single_step", 0, results=tmp_path / "again", **FEW).outcome() == first.outcome()
    assert other.metrics != first.metrics
    assert other.traces != first.traces


def test_pairs_interrupted_resume_at_the_last_epoch(tmp_path, monkeypatch):
    from mtlutils.data.images import ImageSplit

    settings = FEW | {"epochs": 3, "patience": 2, "momentum": 0.9, "learning_rate": 0.01, "trace": 5}
    expected = PAIRS.run("single_step", 0, results=tmp_path / "whole", **settings)
    assert {len(values) for values in expected.traces.values()} == {5}
    batches, epochs = ImageSplit.batches, []

    def interrupted(self, batch_size, generator=None):
        if generator is not None:
            epochs.append(1)
            if len(epochs) == 2:
                raise KeyboardInterrupt
        return batches(self, batch_size, generator)

    monkeypatch.setattr(ImageSplit, "batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PAIRS.run("single_step", 0, results=tmp_path / "parts", **settings)
    assert len(record_checkpoints()) == 1
    record = PAIRS.run("single_step", 0, results=tmp_path / "parts", **settings)
    assert record.outcome() == expected.outcome()
    assert len(epochs) == 2 + 2
    assert not record_checkpoints()


@pytest.fixture
def paired(ask):
    """What the training on pairs is asked to do."""
    return lambda method="equal", seed=0, **settings: ask(PAIRS, method, seed, **(FEW | settings))


def test_pairs_train_as_their_settings_say(paired):
    asked = paired(
        "gradnorm",
        seed=5,
        tasks=["bottom-right", "top-left"],
        head="hidden",
        epochs=7,
        patience=4,
        batch_size=8,
        learning_rate=0.03,
        momentum=0.8,
        trace=11,
    )
    given = {"epochs": 7, "patience": 4, "batch_size": 8, "seed": 5, "trace": 11}
    assert {name: asked[name] for name in given} == given
    assert asked["checkpoint"].name.startswith(asked["run"].path.stem)
    assert list(asked["losses"]) == list(asked["metrics"]) == list(asked["model"].heads) == PAIR[::-1]
    shapes = {name: each.shape for name, each in lenet(dict.fromkeys(PAIR, 10), "hidden").named_parameters()}
    assert {name: each.shape for name, each in asked["model"].named_parameters()} == shapes
    (group,) = asked["optimizer"].param_groups
    of_method = list(asked["balancer"].parameters())
    assert [id(each) for each in group["params"]] == [id(each) for each in [*asked["model"].parameters(), *of_method]]
    assert (group["lr"], group["momentum"], group["weight_decay"], group["nesterov"]) == (0.03, 0.8, 0, False)
    assert {name: len(split) for name, split in asked["splits"].items()} == {"train": 40, "validation": 20, "test": 30}
    by_default = paired()
    assert by_default["patience"] is None
    assert by_default["optimizer"].param_groups[0]["momentum"] == 0
    assert isinstance(by_default["model"].heads["top-left"], torch.nn.Linear)
    assert by_default["splits"]["train"].padding is None


def test_what_a_method_of_pairs_learns_is_the_optimisers(paired):
    asked = paired("uncertainty")
    assert len(list(asked["balancer"].parameters())) == 1
    assert asked["optimizer"].param_groups[0]["params"][-1] is next(asked["balancer"].parameters())


@pytest.mark.parametrize("dataset", ["mnist", "fashion", "fashion_and_mnist"])
def test_pairs_are_of_their_data_set_whatever_the_seed(paired, dataset):
    splits = paired(dataset=dataset)["splits"]
    expected = multi_mnist.load("stand-in", dataset, 40, 20, 30)
    for name, split in splits.items():
        part = getattr(expected, name)
        assert torch.equal(split.images, part.images)
        assert all(torch.equal(split.targets[task], part.targets[task]) for task in PAIR)
    assert paired(dataset=dataset, seed=1)["splits"]["train"] is splits["train"]  # nor are they composed again


def test_seed_decides_where_pairs_start(paired):
    weights = [paired(seed=seed)["model"].encoder[0].weight for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data": "fake"}, "data: .*'stand-in' or 'real', got 'fake'"),
        ({"dataset": "cifar"}, "dataset: .*got 'cifar'"),
        ({"dataset": ["mnist", "cifar"]}, "dataset: .*got 'cifar'"),
        ({"tasks": ["middle"]}, "tasks.0: .*got 'middle'"),
        ({"train_pairs": 0}, "train_pairs: .*1, got 0"),
        ({"validation_pairs": 0}, "validation_pairs: .*1, got 0"),
        ({"test_pairs": -1}, "test_pairs: .*1, got -1"),
        ({"head": "deep"}, "head: .*'linear' or 'hidden', got 'deep'"),
        ({"patience": -1}, "patience: .*0, got -1"),
        ({"momentum": 1}, "momentum: .*less than 1, got 1"),
        ({"learning_rate": 0}, "learning_rate: .*greater than 0, got 0"),
        ({"batch_size": 0}, "batch_size: .*got 0"),
        ({"trace": -1}, "trace: .*0, got -1"),
        ({"trace": 1.5}, "trace: .*got 1.5"),
        ({"methods": ["single_step(alpha=-1)"]}, "alpha must not be negative"),
        ({"methods": ["pareto_mtl(preference=9)"]}, "preference"),
        ({"data": "real"}, "data get mnist.*set MTLUTILS_DATA"),
        ({"data": "real", "dataset": "fashion"}, "data get fashion_mnist.*set MTLUTILS_DATA"),
    ],
)
def test_wrong_parameter_of_pairs_is_one_line(given, message):
    arguments = {"methods": ["equal"], "seeds": [0]} | FEW | given
    with pytest.raises(InputError, match=message) as error:
        PAIRS.runs(**arguments)
    assert "\n" not in str(error.value)


@pytest.fixture
def made_up_images():
    """Forty training and forty test images of MNIST's form and as many of Fashion-MNIST's, where those belong."""
    from mtlutils.experiments import single_step_multimnist

    classes = np.arange(40) % 10
    images = np.random.default_rng(0).integers(0, 256, size=(40, 28, 28))
    for name in ("mnist", "fashion_mnist"):
        folder = multi_mnist.folder(name)
        folder.mkdir(parents=True)
        for split in ("train", "t10k"):
            for what, array in (("images-idx3", images), ("labels-idx1", classes)):
                header = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
                (folder / f"{split}-{what}-ubyte").write_bytes(header + array.astype(np.uint8).tobytes())
    single_step_multimnist._load.cache_clear()  # it knows no other folder
    yield
    single_step_multimnist._load.cache_clear()


def test_checksums_of_pairs_are_those_of_the_sets_that_are_there(made_up_images):
    files = [f"{split}-{what}-ubyte" for split in ("train", "t10k") for what in ("images-idx3", "labels-idx1")]
    digits, clothes = ({f"{folder}/{file}" for file in files} for folder in ("MNIST", "FashionMNIST"))
    assert set(PAIRS.checksums()) == digits | clothes
    assert all(re.fullmatch("sha256:[0-9a-f]{64}", digest) for digest in PAIRS.checksums().values())
    (multi_mnist.folder("mnist") / "train-labels-idx1-ubyte").unlink()
    assert set(PAIRS.checksums()) == clothes
    (multi_mnist.folder("fashion_mnist") / "t10k-images-idx3-ubyte").unlink()
    assert PAIRS.checksums() == {}


@pytest.mark.parametrize(
    ("dataset", "changed", "warned"),
    [
        ("mnist", "mnist", True),
        ("mnist", "fashion_mnist", False),
        ("fashion", "fashion_mnist", True),
        ("fashion_and_mnist", "mnist", True),
        ("fashion_and_mnist", None, False),
    ],
)
def test_records_of_pairs_are_those_of_the_files_at_hand(made_up_images, tmp_path, dataset, changed, warned):
    def run():
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            record = PAIRS.run("equal", 0, results=tmp_path, data="real", dataset=dataset, **FEW)
        return record, ["other files than those at hand" in str(each.message) for each in found]

    record, said = run()
    assert record.data.kind == "real"
    assert record.data.checksums.items() <= PAIRS.checksums().items()
    assert said == []
    if changed:
        path = multi_mnist.folder(changed) / "t10k-labels-idx1-ubyte"
        path.write_bytes(path.read_bytes()[:-1] + b"\0")
    assert run() == (record, [True] * warned)
    for name in ("mnist", "fashion_mnist"):
        for path in multi_mnist.folder(name).iterdir():
            path.unlink()
    assert run() == (record, [])  # records are read where no images are


@pytest.mark.parametrize("method", ["equal", "dwa", "revised_uncertainty", "adaptive(every=epoch)"])
def test_weighting_cost(tmp_path, method):
    record = experiments.load("weighting_cost").run(method, 0, results=tmp_path, rounds=4, calls=2, n_tasks=2)
    assert record.data.kind == "none"
    for what in ("seconds", "ratio"):
        quartiles = [record.metrics[f"{what}/{name}"] for name in ("lower_quartile", "median", "upper_quartile")]
        assert quartiles[0] > 0
        assert quartiles == sorted(quartiles)
    assert record.curves == {}


def test_weighting_cost_of_what_weighs_no_losses(tmp_path):
    with pytest.raises(InputError, match=r"MGDA weighs no losses.*name a method that weighs losses") as error:
        experiments.load("weighting_cost").run("mgda", 0, results=tmp_path)
    assert "\n" not in str(error.value)


def test_weighting_cost_is_compared_with_that_of_equal_weights(tmp_path, monkeypatch):
    from mtlutils.experiments import weighting_cost

    class Timed:
        def __init__(self, balancer, losses):
            self.mean = 2.0 if isinstance(balancer, Equal) else 3.0

        def timeit(self, calls):
            return self

    monkeypatch.setattr(weighting_cost, "_timer", Timed)
    for method, seconds in (("dwa", 3.0), ("equal", 2.0)):
        metrics = experiments.load("weighting_cost").run(method, 0, results=tmp_path).metrics
        assert {name: value for name, value in metrics.items() if name.endswith("median")} == {
            "seconds/median": seconds,
            "ratio/median": seconds / 2,
        }


# Profiles and committed records

PROFILES = sorted((ROOT / "profiles").glob("*/*.yml"))


def notebook_parameters(name):
    """Name -> default value, from the notebook's cell of parameters."""
    cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    statements = ast.parse("".join(cell["source"])).body
    return {each.target.id: ast.literal_eval(each.value) for each in statements}


def test_there_is_a_profile_for_every_experiment():
    assert {path.stem for path in PROFILES} == set(experiments.names())


@pytest.mark.parametrize("name", experiments.names())
def test_papermill_knows_every_parameter_with_its_type_and_meaning(name):
    # What `papermill --help-notebook` shows; it takes a parameter that it does not know, but with a warning.
    shown = inspect_notebook(str(ROOT / "notebooks" / f"{name}.ipynb"))
    assert list(shown) == list(notebook_parameters(name))
    for parameter in shown.values():
        assert parameter["inferred_type_name"] != "None"
        assert parameter["help"]


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_profile_gives_what_its_notebook_takes(path):
    parameters = yaml.safe_load(path.read_text())
    known = notebook_parameters(path.stem)
    assert not parameters.keys() - known.keys()
    # what a profile leaves out would follow the notebook's own defaults
    assert not known.keys() - parameters.keys() - {"device"}
    assert parameters["profile"] == path.parent.name
    assert parameters["results"] == "results"


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_profile_is_valid(path):
    runs = experiments.plan(path.stem, yaml.safe_load(path.read_text()))
    assert runs
    assert {run.experiment for run in runs} == {path.stem}


@pytest.mark.parametrize("name", experiments.names())
def test_notebook_defaults_are_valid_and_need_no_data(name):
    parameters = notebook_parameters(name)
    assert parameters["profile"] == "smoke"
    assert parameters["results"] == ""
    runs = experiments.plan(name, parameters)
    assert runs
    assert all(run.parameters.get("data", "stand-in") == "stand-in" for run in runs)
    # every setting of the experiment is the notebook's to give, but for the tasks
    assert not experiments.load(name).settings.model_fields.keys() - parameters.keys() - {"tasks", "learning_rate"}


def committed(name):
    found, _ = records.read_all(records.committed(), name)
    if not found:
        pytest.skip(f"no records of {name} are committed yet")
    return found


def planned(name, profile=None):
    """Key of every run that a profile, or any of them, plans."""
    paths = [path for path in PROFILES if path.stem == name and profile in (None, path.parent.name)]
    return {run.path.name for path in paths for run in experiments.plan(name, yaml.safe_load(path.read_text()))}


def names_of(found):
    return {
        records.path_for(Path(), record.experiment, record.method, record.seed, record.parameters).name
        for record in found
    }


@pytest.mark.parametrize("name", experiments.names())
def test_every_run_of_the_cpu_profile_has_a_committed_record(name):
    missing = planned(name, "cpu") - names_of(committed(name))
    assert not missing, f"{len(missing)} runs are missing: make book PROFILE=cpu"


@pytest.mark.parametrize("name", experiments.names())
def test_every_committed_record_is_in_some_profile(name):
    assert not names_of(committed(name)) - planned(name)


def test_committed_records_of_an_experiment_are_on_one_data_set():
    for name in experiments.names():
        found = [record for record in records.read_all(records.committed(), name)[0] if record.data.kind == "real"]
        by_set = {}
        for record in found:
            asked = tuple(record.parameters.get(name) for name in ("dataset", "train_rows"))
            by_set.setdefault(asked, set()).add(json.dumps(record.data.checksums, sort_keys=True))
        assert all(len(checksums) == 1 for checksums in by_set.values())


CPU = {path.stem: yaml.safe_load(path.read_text()) for path in PROFILES if path.parent.name == "cpu"}


@pytest.mark.parametrize("name", [name for name, parameters in CPU.items() if parameters.get("sweep_learning_rate")])
def test_learning_rate_of_the_cpu_profile_is_the_one_that_validation_chooses(name):
    committed(name)
    sweep = profiles.of_study(CPU[name], "sweep")
    of_data = {"stand_in": CPU[name].get("data") == "stand-in"}
    found = [record for record in reproduction.committed(name, sweep, **of_data) if record.method == "equal"]
    # every rate with every seed on every data set, or the choice would not be between equals
    sets = sweep.get("dataset")
    n_each = len(sweep["seeds"]) * (len(sets) if isinstance(sets, list) else 1)
    rates = [record.parameters["learning_rate"] for record in found]
    assert {rate: rates.count(rate) for rate in rates} == dict.fromkeys(CPU[name]["sweep_learning_rate"], n_each)
    assert CPU[name]["learning_rate"] == reproduction.chosen_learning_rate(found)


def test_rate_of_single_task_models_on_ag_news_is_the_one_that_validation_chooses():
    asked = CPU["adaptive_agnews"]
    found = reproduction.committed("adaptive_agnews", profiles.of_study(asked, "baseline.sweep"))
    rates = [record.parameters["learning_rate"] for record in found]
    n_each = 2 * len(asked["sweep_seeds"])  # a model a task
    assert {rate: rates.count(rate) for rate in rates} == dict.fromkeys(asked["baseline_sweep_learning_rate"], n_each)
    assert asked["baseline_learning_rate"] == reproduction.chosen_learning_rate(found, "single_task")
