"""Schemes for auxiliary tasks: what a run does, what its record says of each task, and what tables make of that."""

import itertools
import math

import numpy as np
import pytest
import torch
from made_up import a_record
from scipy import stats
from shared import without_details
from torch import nn
from torch.nn.functional import mse_loss

from mtlutils import experiments, figures, report
from mtlutils.autosem import InTurns
from mtlutils.errors import InputError
from mtlutils.experiments import auxiliary_tasks
from mtlutils.experiments.auxiliary_tasks import TASKS
from mtlutils.losses import supervised_twice
from mtlutils.models import MultiTaskModel

EXPERIMENT = experiments.load("auxiliary_tasks")
MAIN, *HELPERS = TASKS["generated"]
QUICK = {"train_items": 20, "evaluated_items": 40, "epochs": 2, "batch_size": 10}
PAIRS = QUICK | {"dataset": "pairs", "output": "own"}


def run(method="equal", seed=0, **given):
    return EXPERIMENT.run(method, seed, **QUICK | given)


# One task a step


class Bowls(MultiTaskModel):
    """Losses (p - 1)² and (p + 1)² of one shared parameter p."""

    def __init__(self):
        super().__init__(nn.ParameterList([torch.zeros(())]), {})

    def losses(self):
        (point,) = self.shared_parameters()
        return torch.stack([(point - 1) ** 2, (point + 1) ** 2])


def test_each_step_is_on_the_task_whose_turn_it_is():
    model = Bowls()
    balancer = InTurns(["up", "down"], itertools.cycle(["up", "up", "down"]))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25)
    points, weights = [], []
    for _ in range(3):
        balancer.step(model.losses, model, optimizer)
        points.append(next(model.shared_parameters()).item())
        weights.append(balancer.weights.tolist())
    assert points == [0.5, 0.75, -0.125]  # each halves the distance to 1, 1 and -1
    assert weights == [[1, 0], [1, 0], [0, 1]]


# Settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"auxiliary": "top-left"}, "generated has no auxiliary task top-left"),
        ({"dataset": "pairs", "auxiliary": "harmful"}, "pairs has no auxiliary task harmful"),
        ({"data": "real"}, "generated data are no real ones"),
        ({"scheme": "autosem", "auxiliary": "none"}, "autosem needs an auxiliary task"),
        ({"scheme": "autosem", "method": "dwa"}, "needs the method equal, not dwa"),
        ({"decay": 2}, "decay"),
    ],
)
def test_wrong_settings(given, message):
    with pytest.raises(InputError, match=message) as error:
        run(**given)
    assert "\n" not in str(error.value)


# Runs


def test_run_on_one_auxiliary_task_has_that_and_the_main_one():
    record = run(auxiliary="useless")
    assert [name for name in record.metrics if name.startswith("test/")] == ["test/loss/main", "test/loss/useless"]
    assert record.data.kind == "stand-in"
    assert record.parameters["auxiliary"] == "useless"


def test_each_seed_has_data_of_its_own():
    first, second = (run(seed=seed, auxiliary="none") for seed in (0, 1))
    assert first.data.checksums != second.data.checksums
    assert first.data.description == second.data.description


@pytest.mark.parametrize("architecture", ["hard_sharing", "gated_sharing"])
def test_network_of_one_task_is_the_same_with_either_output(architecture):
    losses = [
        run(auxiliary="none", architecture=architecture, output=output).metrics["test/loss/main"]
        for output in ("common", "own")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_common_output_gives_every_task_the_same_prediction():
    settings = EXPERIMENT.plan(["equal"], [0], **QUICK)[0].settings
    bound = auxiliary_tasks._bind(settings, 0, torch.device("cpu"))
    inputs, _ = next(bound.splits["train"].batches(5))
    for output, n_different in (("common", 1), ("own", 4)):
        model = auxiliary_tasks._build(settings.model_copy(update={"output": output}), bound, inputs)
        outputs = model(*inputs)
        assert len({tuple(each.flatten().tolist()) for each in outputs.values()}) == n_different


def test_harmful_task_harms_at_equal_weights_and_not_through_the_gate():
    alone, harmed, gated = (
        run(**given, train_items=60, epochs=8, evaluated_items=400).metrics["test/loss/main"]
        for given in (
            {"auxiliary": "none"},
            {"auxiliary": "harmful"},
            {"auxiliary": "harmful", "method": "gradient_cosine"},
        )
    )
    assert max(alone, gated) < harmed
    # the targets' mean is 0, and so is what the network learns: all of the signal's and the noise's variance is left
    assert harmed > 1.6


def test_modules_train_with_the_tasks_and_are_gone_when_it_is_measured():
    settings = EXPERIMENT.plan(["equal"], [0], architecture="auxiliary_modules", **QUICK)[0].settings
    bound = auxiliary_tasks._bind(settings, 0, torch.device("cpu"))
    inputs, targets = next(bound.splits["train"].batches(5))
    model = auxiliary_tasks._build(settings, bound, inputs)
    trained, tested = model.train()(*inputs), model.eval()(*inputs)
    assert {task: len(output) for task, output in trained.items()} == dict.fromkeys(TASKS["generated"], 10)
    torch.testing.assert_close({task: output[:5] for task, output in trained.items()}, tested)
    loss = supervised_twice(mse_loss)(trained["main"], targets["main"])
    parts = mse_loss(trained["main"][:5], targets["main"]), mse_loss(trained["main"][5:], targets["main"])
    assert loss.item() == pytest.approx(sum(parts).item())
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.auxiliary["main"].parameters())


def test_record_has_the_gates_after_every_epoch():
    record = run(architecture="gated_sharing", epochs=3)
    for task in HELPERS:
        gate = record.curves[f"train/gate/{task}"]
        assert len(set(gate)) == 3
        assert gate[0] == pytest.approx(0.1, abs=0.05)  # where all start
    assert "train/gate/main" not in record.curves


def test_record_has_utilities_and_choices_of_the_first_stage():
    record = run(scheme="task_selection", epochs=4)
    utilities, weights = (
        np.array([record.curves[f"train/{what}/{task}"] for task in TASKS["generated"]])
        for what in ("utility", "weight")
    )
    assert utilities.shape == weights.shape == (4, 4)
    np.testing.assert_allclose(weights.sum(axis=0), 1, rtol=1e-6)
    # the prior's mean before the first of the epoch's two steps; after it 2/3 or 1/3, of the task that was chosen
    assert np.count_nonzero(utilities[:, 0] != 0.5) == 1
    assert abs(utilities[:, 0] - 0.5).max() == pytest.approx(1 / 12, abs=1e-5)


def test_first_stage_keeps_to_a_task_between_rewards():
    record = run(scheme="task_selection", reward_batches=2)  # an epoch has two steps
    weights = [record.curves[f"train/weight/{task}"] for task in TASKS["generated"]]
    assert {weight for of_task in weights for weight in of_task} == {0.0, 1.0}


def test_second_stage_trains_in_the_best_ratio_it_tried():
    record = run(scheme="mixing_ratios", evaluations=5, epochs=6)
    shares = {task: record.traces[f"evaluation/share/{task}"] for task in TASKS["generated"]}
    losses = record.traces["evaluation/loss/main"]
    assert len(losses) == 5
    np.testing.assert_allclose(np.sum(list(shares.values()), axis=0), 1, atol=1e-5)
    # the share changes where, and only where, the loss is lower than all before
    best = [min(losses[: i + 1]) for i in range(5)]
    changes = [any(of[i] != of[i - 1] for of in shares.values()) for i in range(1, 5)]
    assert changes == [now < before for before, now in itertools.pairwise(best)]
    assert record.curves["validation/loss/main"][-1] == pytest.approx(min(losses), rel=1e-5)


def test_both_stages_mix_only_what_the_first_selected():
    first, both = (run(scheme=scheme, evaluations=4, epochs=8) for scheme in ("task_selection", "autosem"))
    for task in HELPERS:
        utility = first.curves[f"train/utility/{task}"]
        assert both.curves[f"train/utility/{task}"] == utility
        if np.mean(utility) <= 0.5:
            assert set(both.traces[f"evaluation/share/{task}"]) == {0}
    assert any(np.mean(first.curves[f"train/utility/{task}"]) <= 0.5 for task in HELPERS)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"auxiliary": "random"},
        {"method": "gradient_cosine"},
        {"architecture": "gated_sharing"},
        {"architecture": "auxiliary_modules"},
        {"scheme": "autosem", "evaluations": 2},
    ],
)
def test_pairs_of_images(given):
    record = run(**PAIRS | given)
    assert record.status == "completed"
    assert 0 <= record.metrics["test/accuracy/bottom-right"] <= 1


def test_random_classes_are_the_same_for_every_run_and_say_nothing():
    settings = EXPERIMENT.plan(["equal"], [0], **PAIRS | {"train_items": 2000})[0].settings
    splits = [auxiliary_tasks._bind(settings, seed, torch.device("cpu")).splits["train"] for seed in (0, 1)]
    random, main = (splits[0].targets[task].numpy() for task in ("random", "bottom-right"))
    assert (splits[1].targets["random"].numpy() == random).all()
    table = np.histogram2d(random, main, bins=(10, 10))[0]
    assert stats.chi2_contingency(table).pvalue > 0.001
    assert len(set(random)) == 10


# What records say


def made(
    seed, loss, auxiliary="all", architecture="hard_sharing", scheme="none", output="common", method="equal", **more
):
    """A record with the given error of the main task."""
    parameters = {"auxiliary": auxiliary, "architecture": architecture, "scheme": scheme, "output": output}
    content = {"curves": {}, "metrics": {"test/loss/main": loss}, "status": "diverged" if loss is None else "completed"}
    return a_record(experiment="auxiliary_tasks", method=method, seed=seed, parameters=parameters, **content | more)


def courses(what, *each):
    """Curves of the auxiliary tasks."""
    return {f"{what}/{task}": list(values) for task, values in zip(HELPERS, each, strict=True)}


def rows_of(shown):
    page = without_details(shown)
    return {row.th.text: [cell.text.strip() for cell in row.select("td")] for row in page.select("tbody tr")}


ERROR = report.MainMetric("test/loss/main", "error", is_higher_better=False)


def test_opinions_by_hand():
    cosine = made(0, 1.0, method="gradient_cosine", curves=courses("train/weight", [1, 0.5], [0.2, 0.4], [0, 0]))
    assert report.judgements(cosine, HELPERS) == pytest.approx(dict(zip(HELPERS, (0.75, 0.3, 0), strict=True)))
    ratio = made(0, 1.0, scheme="mixing_ratios", traces=courses("evaluation/share", [0.1, 0.6], [0.5, 0.1], [0.2, 0.0]))
    assert report.judgements(ratio, HELPERS) == dict(zip(HELPERS, (0.6, 0.1, 0), strict=True))
    # gates and utilities say more than weights, which are 1, or the choice of a moment
    gates = courses("train/gate", [0.2], [0.1], [-0.1]) | courses("train/weight", [1], [1], [1])
    assert figures.opinion(made(0, 1.0, curves=gates))[0] == "train/gate"
    equal = made(0, 1.0, curves=courses("train/weight", [1], [1], [1]))
    assert report.judgements(equal, HELPERS) is None
    assert report.judgements(made(0, None, curves=gates), HELPERS) is None


def test_found_out_counts_seeds_and_ties():
    found = [
        made(seed, 1.0, method="gradient_cosine", curves=courses("train/weight", [a], [b], [c]))
        for seed, (a, b, c) in enumerate([(3, 2, 1), (3, 1, 2), (3, 1, 1), (1, 2, 0)])
    ]
    found.append(made(0, 1.0, curves=courses("train/weight", [1], [1], [1])))
    cells = rows_of(report.found_out({"Here": found}, HELPERS))
    low, high = (100 * stats.beta.ppf(q, *ab) for q, ab in ((0.025, (3, 2)), (0.975, (4, 1))))  # Clopper & Pearson
    assert cells["gradient cosine"][3:] == [
        f"3 of 4 [{low:.0f}, {high:.0f}] %",
        "4 of 4 [40, 100] %",
        "2 of 4, 1 tied [7, 93] %",
        "1 of 4 [1, 81] %",
    ]
    assert list(cells) == ["equal weights", "gradient cosine"]
    assert set(cells["equal weights"]) == {"–"}


def test_ground_truth_is_paired_within_an_architecture():
    found = [
        *(made(seed, loss, "none") for seed, loss in enumerate((2.0, 3.0))),
        *(made(seed, loss, "helpful") for seed, loss in enumerate((1.0, 2.0))),
        *(made(seed, loss, "harmful") for seed, loss in enumerate((2.5, None))),
        made(0, 9.0, "none", architecture="gated_sharing"),
        made(0, 8.5, "helpful", architecture="gated_sharing"),
        made(0, 0.0, "all"),
        made(0, 0.0, "harmful", method="gradient_cosine"),
    ]
    cells = rows_of(report.ground_truth({"Here": found}, HELPERS, ERROR))
    assert cells == {
        "helpful": ["+1.00 ± 0.00", "+0.50"],
        "useless": ["–", "–"],
        "harmful": ["-0.50 (1 of 2 diverged)", "–"],
    }


def test_main_task_shows_gain_and_time():
    def timed(seconds):
        return {"total_seconds": seconds, "seconds_per_step": None, "steps": 1, "peak_memory_bytes": None}

    found = [
        *(made(seed, loss, "none", timing=timed(2.0)) for seed, loss in enumerate((2.0, 3.0))),
        *(made(seed, loss, scheme="autosem", timing=timed(8.0)) for seed, loss in enumerate((1.0, 2.0))),
        *(made(seed, loss, timing=timed(3.0)) for seed, loss in enumerate((2.5, None))),
        made(0, 0.0, "helpful"),
    ]
    cells = rows_of(report.main_task({"Here": found}, ERROR))
    half = stats.t.ppf(0.975, 1) * 0.5
    assert cells == {
        "main task alone": [f"2.50 ± {half:.2f}", "", "1.0 ± 0.0"],
        "equal weights": ["2.50 (1 of 2 diverged)", "-0.50 (1 of 2 diverged)", "1.5 ± 0.0"],
        "AutoSeM, both stages": [f"1.50 ± {half:.2f}", "+1.00 ± 0.00", "4.0 ± 0.0"],
    }


def test_figure_of_opinions_has_a_panel_for_each_scheme_that_has_some():
    found = [
        made(seed, 1.0, method="gradient_cosine", curves=courses("train/weight", [a, 0.5], [0.2, 0.4], [0, 0]))
        for seed, a in enumerate((1.0, 0.5))
    ]
    found += [made(0, 1.0, scheme="mixing_ratios", traces=courses("evaluation/share", [0.1, 0.6], [0, 0], [0, 0.2]))]
    found += [made(0, 1.0, curves=courses("train/weight", [1], [1], [1]))]
    figure = figures.opinions({"Here": found}, HELPERS, report.auxiliary_scheme)
    assert [axis.get_title() for axis in figure.axes] == ["gradient cosine", "AutoSeM, second stage"]
    cosine, ratio = ({line.get_label(): list(line.get_ydata()) for line in axis.lines} for axis in figure.axes)
    assert cosine["helpful"] == [0.75, 0.5]
    assert ratio["harmful"] == [0, 0.2]
    low, high = figure.axes[0].get_ylim()
    assert low >= -0.4
    assert high <= 1.2  # the band of two seeds reaches to 0.75 + 12.7 · 0.25
    figures.show(figure, "alt", "caption")


def test_figure_of_targets_says_how_they_correlate():
    signal = np.array([0.0, 1.0, 2.0])
    figure = figures.targets_against_signal(signal, {"main": 2 * signal, "harmful": -signal})
    assert [axis.get_title().split("\n") for axis in figure.axes] == [
        ["main", "correlation +1.00"],
        ["harmful", "correlation -1.00"],
    ]
    assert math.isclose(figure.axes[0].collections[0].get_offsets()[2][1], 4)
    figures.show(figure, "alt", "caption")
