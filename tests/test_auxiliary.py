"""Auxiliary tasks: gated by gradient similarity, selected and mixed by AutoSeM, on generated data among others."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import nn
from torch.nn.functional import mse_loss

from mtlutils import training
from mtlutils.autosem import MixingRatios, TaskSelection
from mtlutils.balancing.equal import Equal
from mtlutils.balancing.gradient_cosine import GradientCosine
from mtlutils.data import auxiliary_standin
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel
from mtlutils.models.mlp import mlp


def assert_one_line(error):
    assert "\n" not in str(error.value)


# Gradient cosine: by hand


class Slopes(nn.Module):
    """Losses that are linear in one shared vector: the rows of a matrix are their gradients."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.tensor(rows)
        self.point = nn.Parameter(torch.zeros(self.rows.shape[1]))

    def forward(self):
        return torch.stack([row @ self.point for row in self.rows])

    def shared_parameters(self):
        return iter([self.point])

    def task_parameters(self):
        return iter([])


def update(balancer, rows):
    """The weights, and the shared gradient that they make, for given task gradients."""
    model = Slopes(rows)
    balancer.step(model, model, torch.optim.SGD(model.parameters(), lr=0.0))
    return balancer.weights.tolist(), model.point.grad.tolist()


# Main (3, 4), length 5; along it, against it, across it, and (4, 3), at a cosine of 24/25.
ROWS = [[3.0, 4.0], [6.0, 8.0], [-3.0, -4.0], [-4.0, 3.0], [4.0, 3.0]]


def test_unweighted_by_hand():
    weights, gradient = update(GradientCosine(5), ROWS)
    assert weights == [1, 1, 0, 0, 1]
    assert gradient == [13, 15]


def test_weighted_by_hand():
    weights, gradient = update(GradientCosine(5, weighted=True), ROWS)
    assert weights == pytest.approx([1, 1, 0, 0, 24 / 25])
    assert gradient == pytest.approx([3 + 6 + 4 * 0.96, 4 + 8 + 3 * 0.96])


@pytest.mark.parametrize("weighted", [False, True])
def test_another_main_task(weighted):
    weights, gradient = update(GradientCosine(3, main=2, weighted=weighted), [[1.0, 0.0], [0.0, -2.0], [-5.0, 0.0]])
    assert weights == [0, 0, 1]
    assert gradient == [-5, 0]


@pytest.mark.parametrize("weighted", [False, True])
def test_no_auxiliary_task_leads_away_from_a_critical_point_of_the_main_one(weighted):
    weights, gradient = update(GradientCosine(3, weighted=weighted), [[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]])
    assert weights == [1, 0, 0]
    assert gradient == [0, 0]


@pytest.mark.parametrize("scale", [1e-15, 1e15])
def test_lengths_do_not_open_or_close_the_gate(scale):
    rows = [[3.0, 4.0], [4.0 * scale, 3.0 * scale], [-3.0 * scale, 0.0]]
    assert update(GradientCosine(3), rows)[0] == [1, 1, 0]
    assert update(GradientCosine(3, weighted=True), rows)[0] == pytest.approx([1, 0.96, 0])


@pytest.mark.parametrize("weighted", [False, True])
def test_one_task_is_plain_descent(weighted):
    assert update(GradientCosine(1, weighted=weighted), [[3.0, -4.0]]) == ([1], [3, -4])


def test_not_finite_gradients_give_no_direction():
    weights, _ = update(GradientCosine(2), [[math.nan, 1.0], [1.0, 0.0]])
    assert all(math.isnan(weight) for weight in weights)


numbers = st.floats(-1e3, 1e3, width=32)


@settings(max_examples=60, deadline=None)
@given(
    matrix=st.integers(1, 4).flatmap(
        lambda p: st.lists(st.lists(numbers, min_size=p, max_size=p), min_size=3, max_size=3)
    ),
    main=st.integers(0, 2),
    weighted=st.booleans(),
)
def test_update_descends_on_the_main_loss_at_least_as_steeply_as_its_own_gradient(matrix, main, weighted):
    rows = torch.tensor(matrix, dtype=torch.float64)
    direction, weights = GradientCosine(3, main=main, weighted=weighted).aggregate(rows)
    torch.testing.assert_close(direction, weights @ rows)
    squared = rows[main].square().sum()
    # The other products are not negative, but for rounding.
    assert direction @ rows[main] >= squared - 1e-9 * rows.abs().sum().square()
    assert weights.min() >= 0
    assert weights.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"main": 2}, "main must be a task, 0 to 1, got 2"),
        ({"main": -1}, "main must be a task"),
        ({"main": 0.5}, "main must be a task"),
        ({"heads": "none"}, "heads must be"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        GradientCosine(2, **options)


# Gradient cosine: networks


class Network(MultiTaskModel):
    """Batch norm, and squared errors; the second task's target is the first's with its sign turned."""

    def __init__(self):
        random = torch.Generator().manual_seed(0)
        encoder = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Tanh())
        super().__init__(encoder, {task: nn.Linear(5, 1) for task in "abc"})
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)
        for task in "bc":
            self.heads[task].load_state_dict(self.heads["a"].state_dict())  # so that no head turns a sign
        self.inputs = torch.randn(6, 4, generator=random)
        target = 50 * torch.randn(6, 1, generator=random)  # so large that no output matters beside it
        self.targets = {"a": target, "b": -target, "c": target}

    def losses(self):
        outputs = self(self.inputs)
        return torch.stack([mse_loss(outputs[task], self.targets[task]) for task in self.heads])


def test_batch_norm_heads_and_shared_parameters():
    model, expected = Network(), Network()
    each = [
        torch.autograd.grad(loss, list(expected.parameters()), retain_graph=True, materialize_grads=True)
        for loss in expected.losses()
    ]
    balancer = GradientCosine(3)
    balancer.step(model.losses, model, torch.optim.SGD(model.parameters(), lr=0.0))
    assert balancer.weights.tolist() == [1, 0, 1]
    n_shared = len(list(model.shared_parameters()))
    for number, parameter in enumerate(model.parameters()):
        gates = [1, 0, 1] if number < n_shared else [1, 1, 1]
        torch.testing.assert_close(
            parameter.grad, sum(gate * gradients[number] for gate, gradients in zip(gates, each, strict=True))
        )
    # One forward pass: the running statistics moved once, as in ordinary training.
    assert model.encoder[1].num_batches_tracked == 1
    torch.testing.assert_close(model.encoder[1].running_mean, expected.encoder[1].running_mean)


def test_heads_can_be_gated_as_well():
    model = Network()
    balancer = GradientCosine(3, heads="weighted")
    balancer.step(model.losses, model, torch.optim.SGD(model.parameters(), lr=0.0))
    assert not model.heads["b"].weight.grad.any()
    assert model.heads["c"].weight.grad.any()


def test_nothing_is_remembered():
    ends = []
    for interrupted in (False, True):
        model, balancer = Network(), GradientCosine(3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        for _ in range(4):
            balancer.step(model.losses, model, optimizer)
            if interrupted:
                assert not balancer.state_dict()
                balancer = GradientCosine(3)
        ends.append([parameter.detach() for parameter in model.parameters()])
    for end, other in zip(*ends, strict=True):
        assert torch.equal(end, other)


# The generated data


def test_data_are_what_they_are_said_to_be():
    data = auxiliary_standin.load(n_train=4000, noise=0.5)
    y = {task: values.squeeze(1).double() for task, values in data.train.targets.items()}
    signal = data.train.inputs.double() @ data.direction.double()
    assert tuple(y) == auxiliary_standin.TASKS
    assert data.direction.norm().item() == pytest.approx(1, abs=1e-6)
    assert torch.equal(y["harmful"], -y["main"])
    # Standard errors of a deviation and of a correlation: σ / √(2n) and 1 / √n; five of them.
    assert (y["main"] - signal).std().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(8000))
    assert (y["helpful"] - signal).std().item() == pytest.approx(0.05, abs=5 * 0.05 / math.sqrt(8000))
    assert y["useless"].std().item() == pytest.approx(math.sqrt(1.25), abs=5 * math.sqrt(1.25 / 8000))
    correlations = torch.corrcoef(torch.stack([y["useless"], signal, y["main"] - signal, y["helpful"] - signal]))
    assert (correlations - torch.eye(4)).abs().max() < 5 / math.sqrt(4000)


def test_data_are_the_same_for_a_seed_and_smaller_splits_a_beginning():
    small, large = auxiliary_standin.load(n_train=10, n_test=5), auxiliary_standin.load(n_train=30, n_validation=7)
    for of_small, of_large in ((small.train, large.train), (small.test, large.test)):
        n = len(of_small)
        assert torch.equal(of_small.inputs, of_large.inputs[:n])
        for task, values in of_small.targets.items():
            assert torch.equal(values, of_large.targets[task][:n])
    assert auxiliary_standin.load().description == auxiliary_standin.load().description
    sums = [auxiliary_standin.load(seed=seed).description.checksums for seed in (0, 1)]
    assert len({each for checksums in sums for each in checksums.values()}) == 6
    assert not torch.equal(auxiliary_standin.load(seed=1).direction, small.direction)


def test_data_description_and_batches():
    data = auxiliary_standin.load(n_train=10, n_validation=4, n_test=6, n_features=3)
    assert data.description.kind == "stand-in"
    assert data.description.sizes == {"train": 10, "validation": 4, "test": 6}
    batches = list(data.train.batches(4, torch.Generator().manual_seed(0)))
    assert [len(inputs) for (inputs,), _ in batches] == [4, 4, 2]
    rows = torch.cat([torch.cat([inputs, targets["main"], targets["useless"]], 1) for (inputs,), targets in batches])
    in_order = torch.cat([data.train.inputs, data.train.targets["main"], data.train.targets["useless"]], 1)
    assert rows.shape == (10, 5)
    assert not torch.equal(rows, in_order)
    assert {tuple(row) for row in rows.tolist()} == {tuple(row) for row in in_order.tolist()}
    ((inputs,), targets), *others = data.train.batches(100)
    assert not others
    assert torch.equal(inputs, data.train.inputs)
    assert targets["helpful"].shape == (10, 1)


@pytest.mark.parametrize(
    "wrong", [{"n_train": 0}, {"n_test": -1}, {"n_features": 0}, {"noise": -0.1}, {"noise": math.nan}]
)
def test_data_wrong_numbers(wrong):
    with pytest.raises(InputError, match="must be positive and noise not negative") as error:
        auxiliary_standin.load(**wrong)
    assert_one_line(error)


# The network


@pytest.mark.parametrize("common_output", [False, True])
def test_mlp(common_output):
    model = mlp(3, {"a": 2, "b": 2}, hidden=(5, 4), common_output=common_output)
    outputs = model(torch.randn(7, 3))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {"a": (7, 2), "b": (7, 2)}
    assert torch.equal(outputs["a"], outputs["b"]) == common_output
    shared, own = list(model.shared_parameters()), list(model.task_parameters())
    assert len(shared) + len(own) == len({*shared, *own}) == len(list(model.parameters()))
    assert len(own) == (0 if common_output else 4)
    assert sum(p.numel() for p in model.parameters()) == 4 * 5 + 6 * 4 + 5 * 2 * (1 if common_output else 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, {"a": 1}), "positive sizes"),
        ((2, {"a": 0}), "positive sizes"),
        ((2, {}), "needs a task"),
        ((2, {"a": 1}, ()), "a hidden layer"),
        ((2, {"a": 1, "b": 2}, (3,), True), "outputs of one size"),
    ],
)
def test_mlp_wrong_sizes(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        mlp(*arguments)
    assert_one_line(error)


# The two together: the truth is known, and found

SEEDS = range(5)
ALL = auxiliary_standin.TASKS


@pytest.fixture(scope="module")
def trained():
    """What (tasks, method) gave on each seed: the main task's test error, less the noise that no model can predict."""
    results = {}
    for seed in SEEDS:
        data = auxiliary_standin.load(seed=seed)
        for tasks, method in (
            (("main",), Equal),
            (("main", "helpful"), Equal),
            (("main", "harmful"), Equal),
            (("main", "harmful"), GradientCosine),
            (ALL, GradientCosine),
        ):
            torch.manual_seed(seed)
            model = mlp(20, dict.fromkeys(tasks, 1), common_output=True)
            result = training.train(
                model=model,
                balancer=method(len(tasks)),
                optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
                losses=dict.fromkeys(tasks, mse_loss),
                metrics={},
                splits={"train": data.train, "test": data.test},
                epochs=12,
                batch_size=20,
                seed=seed,
            )
            gates = {task: np.mean(result.curves[f"train/weight/{task}"]) for task in tasks}
            results.setdefault((tasks, method), []).append((result.metrics["test/loss/main"] - 1, gates))
    return results


def errors(trained, tasks, method):
    return np.array([error for error, _ in trained[tasks, method]])


def test_helpful_task_helps_and_harmful_task_harms_on_every_seed(trained):
    alone = errors(trained, ("main",), Equal)
    assert (errors(trained, ("main", "helpful"), Equal) < alone).all()
    assert (errors(trained, ("main", "harmful"), Equal) > alone).all()


def test_gate_recovers_most_of_what_the_harmful_task_takes_and_keeps_what_the_helpful_gives(trained):
    alone, harmed = errors(trained, ("main",), Equal), errors(trained, ("main", "harmful"), Equal)
    gated = errors(trained, ("main", "harmful"), GradientCosine)
    assert ((harmed - gated) / (harmed - alone) > 0.8).all()
    assert (errors(trained, ALL, GradientCosine) < alone).all()


def test_gate_is_open_for_the_helpful_more_than_for_the_useless_more_than_for_the_harmful(trained):
    for _, gates in trained[ALL, GradientCosine]:
        assert gates["main"] == 1
        assert gates["helpful"] > gates["useless"] > gates["harmful"]


class Trainer:
    """A network of a common output, trained on one task at a time by whole-batch gradient descent."""

    def __init__(self, seed):
        self.data = auxiliary_standin.load(seed=seed)
        torch.manual_seed(seed)
        self.model = mlp(20, {"main": 1}, common_output=True)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)

    def train(self, task):
        self.optimizer.zero_grad()
        mse_loss(self.model(self.data.train.inputs)["main"], self.data.train.targets[task]).backward()
        self.optimizer.step()

    @torch.no_grad()
    def validate(self):
        validation = self.data.validation
        return mse_loss(self.model(validation.inputs)["main"], validation.targets["main"]).item()


@pytest.mark.parametrize("seed", SEEDS)
def test_selection_takes_the_helpful_task_and_rejects_the_harmful(seed):
    trainer = Trainer(seed)
    losses = [trainer.validate()]

    def reward(task):
        trainer.train(task)
        losses.append(trainer.validate())
        return losses[-1] <= losses[-2]

    selection = TaskSelection(ALL, decay=0.1, seed=seed)
    selected = selection.run(reward, 60)
    assert "helpful" in selected
    assert "harmful" not in selected
    assert losses[-1] < losses[0]
    assert {task for task, _ in selection.history} == set(ALL)


def test_mixing_leaves_the_harmful_task_out():
    def objective(ratios):
        trainer = Trainer(0)
        turns = [task for task, n in zip(("main", "helpful", "harmful"), ratios, strict=True) for _ in range(n)]
        for task in itertools.islice(itertools.cycle(turns), 40):
            trainer.train(task)
        return -trainer.validate()

    mixing = MixingRatios(3, largest=2)
    main, helpful, harmful = mixing.run(objective, 10)
    assert main > 0
    assert helpful > 0
    assert harmful == 0
    assert mixing.evaluated[main, helpful, harmful] > objective((1, 0, 0)) > objective((1, 0, 1))


# AutoSeM, the first stage: by hand, and in known worlds


def test_pulls_by_hand():
    selection = TaskSelection(["a", "b"], decay=0.5)
    assert selection.utilities() == {"a": 0.5, "b": 0.5}
    selection.update("a", True)
    assert (selection.alpha.tolist(), selection.beta.tolist()) == ([2, 1], [1, 1])
    selection.update("b", False)
    assert (selection.alpha.tolist(), selection.beta.tolist()) == ([1.5, 1], [1, 2])
    assert selection.utilities() == pytest.approx({"a": 0.6, "b": 1 / 3})
    assert selection.selected() == ["a"]
    assert selection.selected(0.7) == []
    assert selection.selected(0.0) == ["a", "b"]
    assert selection.history == [("a", True), ("b", False)]


def test_prior_is_what_is_forgotten_towards():
    selection = TaskSelection(["a", "b"], decay=0.5, prior=(3.0, 1.0))
    selection.update("a", False)
    for _ in range(100):
        selection.update("b", True)
    assert selection.alpha.tolist() == pytest.approx([3, 3 + 1 / 0.5])
    assert selection.beta.tolist() == pytest.approx([1, 1])
    assert selection.selected() == ["b"]  # a is at the prior's mean, not above


def test_without_decay_it_counts():
    selection = TaskSelection(["a", "b"], decay=0.0)
    for reward in (True, False, True):
        selection.update("a", reward)
    assert (selection.alpha.tolist(), selection.beta.tolist()) == ([3, 1], [2, 1])


def test_choice_is_a_thompson_sample():
    # Beta(2, 1) has the distribution function x², Beta(1, 1) x: P(a > b) = ∫ x 2x dx = 2/3.
    selection = TaskSelection(["a", "b"], decay=0.0, seed=1)
    selection.update("a", True)
    n = 3000
    share = sum(selection.choose() == "a" for _ in range(n)) / n
    assert share == pytest.approx(2 / 3, abs=4 * math.sqrt(2 / 9 / n))


def world(good, seed):
    """Rewards of chance 0.9 for the task that ``good`` names at each step, and 0.1 for others."""
    rng, steps = np.random.default_rng(seed), itertools.count()
    return lambda task: rng.random() < (0.9 if task == good(next(steps)) else 0.1)


def share_of(selection, task, steps):
    return np.mean([chosen == task for chosen, _ in selection.history[steps]])


@pytest.mark.parametrize("seed", range(5))
def test_bandit_follows_a_good_arm_that_changes(seed):
    def good(step):
        return "a" if step < 200 else "b"

    follows, counts = TaskSelection("abc", decay=0.1, seed=seed), TaskSelection("abc", decay=0.0, seed=seed)
    follows.run(world(good, seed), 200)
    assert follows.utilities()["a"] > max(follows.utilities()["b"], follows.utilities()["c"])
    follows.run(world(lambda _: "b", seed), 100)
    counts.run(world(good, seed), 300)
    assert share_of(follows, "a", slice(100, 200)) > 0.5
    assert share_of(follows, "b", slice(250, 300)) > 0.5
    assert follows.utilities()["b"] > max(follows.utilities()["a"], follows.utilities()["c"])
    # The usual bandit is sooner sure of the first, and later of the second.
    assert share_of(counts, "a", slice(100, 200)) > share_of(follows, "a", slice(100, 200))
    assert share_of(counts, "b", slice(200, 250)) < share_of(follows, "b", slice(200, 250))


@pytest.mark.parametrize("seed", range(5))
def test_tasks_that_never_help_are_rejected(seed):
    selection = TaskSelection(["never", "always", "neither"], seed=seed)
    assert selection.run(lambda task: task == "always", 60) == ["always"]
    assert share_of(selection, "always", slice(None)) > 0.5


def test_selection_is_the_same_for_a_seed_and_can_be_continued():
    def history(*parts, seed=3):
        selection, reward = TaskSelection("abc", seed=seed), world(lambda _: "a", 0)
        for n in parts:
            selection.run(reward, n)
        return selection.history

    assert history(40) == history(15, 25)
    assert history(40) != history(40, seed=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": []}, "one or more different names, got none"),
        ({"tasks": ["a", "a"]}, "different names, got a, a"),
        ({"tasks": ["a"], "decay": 1.5}, "decay must be from 0 to 1"),
        ({"tasks": ["a"], "decay": math.nan}, "decay must be"),
        ({"tasks": ["a"], "prior": (0.0, 1.0)}, "prior positive"),
    ],
)
def test_selection_wrong_options(arguments, message):
    with pytest.raises(InputError, match=message) as error:
        TaskSelection(**arguments)
    assert_one_line(error)


def test_reward_of_a_task_that_is_not_there():
    with pytest.raises(InputError, match="no task 'c'; there are: a, b") as error:
        TaskSelection("ab").update("c", True)
    assert_one_line(error)


# AutoSeM, the second stage


def peak(ratios):
    """A smooth function of the shares, largest at 3:2:1, where it is 0."""
    shares = np.array(ratios) / sum(ratios)
    return -float(np.square(shares - np.array([3, 2, 1]) / 6).sum())


def expected_best_at_random(values, n):
    """The mean of the largest of n values drawn without replacement."""
    ordered, total = sorted(values, reverse=True), math.comb(len(values), n)
    return sum(value * math.comb(len(values) - i - 1, n - 1) / total for i, value in enumerate(ordered))


def test_expected_best_at_random_by_hand():
    # Two of 0, 1, 5: {0, 1}, {0, 5}, {1, 5}.
    assert expected_best_at_random([1, 0, 5], 2) == pytest.approx(11 / 3)


def test_candidates():
    assert MixingRatios(2, largest=2).candidates == [(1, 0), (1, 1), (1, 2), (2, 1)]
    assert MixingRatios(1).candidates == [(1,)]
    candidates = MixingRatios(3).candidates
    shares = {tuple(np.round(np.array(ratios) / sum(ratios), 9)) for ratios in candidates}
    assert len(shares) == len(candidates)


@pytest.mark.parametrize("acquisition", ["expected_improvement", "upper_confidence_bound"])
def test_process_finds_the_maximum_in_few_evaluations_and_random_search_does_not(acquisition):
    n, found, best = 12, [], []
    for seed in range(5):
        mixing = MixingRatios(3, acquisition=acquisition, seed=seed)
        assert mixing.run(peak, n) in mixing.evaluated
        found.append(mixing.best() == (3, 2, 1))
        best.append(max(list(mixing.evaluated.values())[:8]))
    values = [peak(ratios) for ratios in mixing.candidates]
    # How often random search of the same budget finds it as often as this.
    assert stats.binomtest(sum(found), len(found), n / len(values), alternative="greater").pvalue < 1e-3
    assert stats.ttest_1samp(best, expected_best_at_random(values, 8), alternative="greater").pvalue < 0.01


def test_no_ratio_is_evaluated_twice_and_all_are_in_the_end():
    calls = []

    def objective(ratios):
        calls.append(ratios)
        return peak((*ratios, 0))

    mixing = MixingRatios(2)
    assert mixing.run(objective, 1000) == max(mixing.candidates, key=lambda ratios: peak((*ratios, 0)))
    assert sorted(calls) == sorted(mixing.candidates)
    mixing.run(objective, 5)
    assert len(calls) == len(mixing.candidates)
    with pytest.raises(InputError, match="all 12 ratios have been evaluated") as error:
        mixing.suggest()
    assert_one_line(error)


def test_suggestions_after_the_first_are_not_random():
    # Two processes with different seeds, told the same, agree.
    suggestions = set()
    for seed in (0, 1):
        mixing = MixingRatios(3, seed=seed)
        for ratios in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (3, 2, 2)):
            mixing.update(ratios, peak(ratios))
        suggestions.add(mixing.suggest())
    assert len(suggestions) == 1


@pytest.mark.parametrize("acquisition", ["expected_improvement", "upper_confidence_bound"])
def test_acquisition_by_hand(acquisition, monkeypatch):
    mixing = MixingRatios(2, largest=2, n_initial=1, acquisition=acquisition, kappa=1.0)
    mixing.update((1, 0), 1.0)  # left: 1:1, 1:2, 2:1
    # EI with f* = 1: at 1:1 certain and 0; at 1:2 z = 0, 3 φ(0) = 1.197; at 2:1 z = 1, Φ(1) + φ(1) = 1.083.
    # UCB: 1 + 0, 1 + 3, 2 + 1.
    posterior = np.array([1.0, 1.0, 2.0]), np.array([0.0, 3.0, 1.0])
    monkeypatch.setattr(mixing, "_posterior", lambda *_: posterior)
    assert mixing.suggest() == (1, 2)
    # At a deviation of 2: EI 2 φ(0) = 0.798, UCB 3, as much as at 2:1, and less below it.
    posterior[1][1] = 1.9
    assert mixing.suggest() == (2, 1)


def test_diverged_runs_count_as_the_worst():
    mixing = MixingRatios(3, seed=2)
    best = mixing.run(lambda ratios: math.nan if ratios[2] == 0 else peak(ratios), 10)
    assert math.isfinite(mixing.evaluated[best])
    assert best[2] > 0
    only = MixingRatios(2, n_initial=1)
    with pytest.raises(InputError, match="no ratio has a finite value") as error:
        only.run(lambda _: math.inf, 3)
    assert_one_line(error)


def test_noise_and_flat_objectives_are_accepted():
    rng = np.random.default_rng(0)
    noisy = MixingRatios(2, noise=0.5)
    assert noisy.run(lambda ratios: rng.standard_normal(), 6) in noisy.candidates
    assert len(noisy.evaluated) == 6
    flat = MixingRatios(2)
    flat.run(lambda ratios: 1.0, 5)
    assert len(flat.evaluated) == 5


def test_mixing_is_the_same_for_a_seed_and_can_be_continued():
    runs = []
    for parts, seed in (((8,), 0), ((2, 6), 0), ((8,), 1)):
        mixing = MixingRatios(3, seed=seed)
        for n in parts:
            mixing.run(peak, n)
        runs.append(list(mixing.evaluated))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    "wrong",
    [{"n_tasks": 0}, {"largest": 0}, {"n_initial": 0}, {"noise": 0.0}, {"kappa": -1.0}, {"acquisition": "greed"}],
)
def test_mixing_wrong_options(wrong):
    with pytest.raises(InputError, match="must be") as error:
        MixingRatios(**{"n_tasks": 2} | wrong)
    assert_one_line(error)


@pytest.mark.parametrize("ratios", [(2, 2), (1, 0), (9, 1), (1, 1, 1)])
def test_value_of_a_ratio_that_is_not_left(ratios):
    mixing = MixingRatios(2)
    mixing.update((1, 0), 0.0)
    with pytest.raises(InputError, match="not a ratio that is left") as error:
        mixing.update(ratios, 1.0)
    assert_one_line(error)
