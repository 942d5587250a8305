"""The loop: what it measures, how it ends, and that an interrupted training ends as an uninterrupted one."""

import dataclasses
import errno
import math
import time
from collections import Counter

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import Metric, MetricCollection

from mtlutils import balancing, metrics, training
from mtlutils.balancing.balancer import Balancer
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

METHODS = [
    *balancing.names(),
    "adaptive(detach=false)",
    "adaptive(every=epoch)",
    "uncertainty(kinds=[classification, regression])",
]
TASKS = {"easy": 2, "hard": 3}
N_STEPS = 5  # an epoch
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


class Points:
    """Points of a plane; the tasks are which half of it, and which third, they lie in."""

    def __init__(self, n, seed, device="cpu"):
        points = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
        angle = torch.atan2(points[:, 1], points[:, 0]) / (2 * math.pi) + 0.5
        self.points = points.to(device)
        self.targets = {
            "easy": (points[:, 0] > 0).long().to(device),
            "hard": (3 * angle).long().clamp(max=2).to(device),
        }

    def __len__(self):
        return len(self.points)

    def batches(self, batch_size, generator=None):
        n = len(self)
        order = torch.arange(n) if generator is None else torch.randperm(n, generator=generator)
        for rows in order.to(self.points.device).split(batch_size):
            yield (self.points[rows],), {task: classes[rows] for task, classes in self.targets.items()}


def splits(device="cpu", **replaced):
    sizes = {"train": 70, "validation": 20, "test": 30}
    return {name: Points(n, seed, device) for seed, (name, n) in enumerate(sizes.items())} | replaced


def train(method="equal", seed=0, epochs=3, lr=0.3, momentum=0.0, weight_decay=0.0, device="cpu", keep=None, **options):
    """Train on points; ``keep``, a dict, receives the model, the balancer and the optimiser."""
    torch.manual_seed(seed)
    heads = {task: nn.Linear(8, n) for task, n in TASKS.items()}
    # Dropout draws from the global random state, which a resumed training must find again.
    encoder = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.1), nn.Tanh())
    model = MultiTaskModel(encoder, heads).to(device)
    balancer = balancing.create(method, n_tasks=2).to(device)
    optimizer = torch.optim.SGD(
        [*model.parameters(), *balancer.parameters()], lr=lr, momentum=momentum, weight_decay=weight_decay
    )
    if keep is not None:
        keep.update(model=model, balancer=balancer, optimizer=optimizer)
    standard = {
        "losses": dict.fromkeys(TASKS, cross_entropy),
        "metrics": {task: metrics.classification(n).to(device) for task, n in TASKS.items()},
        "splits": splits(device),
        "batch_size": 16,
    }
    return training.train(
        model=model, balancer=balancer, optimizer=optimizer, epochs=epochs, seed=seed, **(standard | options)
    )


def outcome(result):
    """All of a result but times and memory."""
    values = {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}
    return values | {"timing": result.timing.steps}


def weights_of(model):
    return [parameter.detach().cpu() for parameter in model.parameters()]


# What it measures


@pytest.mark.parametrize("method", METHODS)
def test_losses_fall_on_an_easy_problem(method):
    # Weights of 1 over the loss make steps that are too long at the rate that suits the others.
    result = train(method, epochs=12, lr=0.03 if method in {"imtl_l", "logse"} else 0.3)
    assert (result.status, result.message, result.selected_epoch) == ("completed", "", 12)
    for split in ("train", "validation", "test"):
        for task in TASKS:
            curve = result.curves[f"{split}/loss/{task}"]
            assert len(curve) == 12
            assert curve[-1] < curve[0]
    assert result.metrics["test/accuracy/easy"] > 0.8


def test_names_and_numbers_of_curves_and_metrics():
    result = train(epochs=2)
    measured = {
        f"{split}/{what}/{t}" for split in ("validation", "test") for what in ("loss", "accuracy") for t in TASKS
    }
    assert set(result.metrics) == measured
    assert set(result.curves) == measured | {f"train/{what}/{task}" for what in ("loss", "weight") for task in TASKS}
    assert result.metrics == {name: result.curves[name][-1] for name in measured}
    assert result.curves["train/weight/easy"] == [1, 1]
    assert result.timing.steps == 2 * math.ceil(70 / 16)
    assert 0 < result.timing.seconds_per_step * result.timing.steps < result.timing.total_seconds
    assert 0 < result.timing.processor_seconds_per_step < 1.05 * result.timing.seconds_per_step + 1e-4
    assert result.timing.peak_memory_bytes > 1e6
    assert result.traces == {}


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_recorded_of_the_methods_that_have_them(method):
    kept = {}
    curves = train(method, epochs=2, keep=kept).curves
    weights = {name: curve for name, curve in curves.items() if name.startswith("train/weight/")}
    has_weights = kept["balancer"].weights is not None
    assert list(weights) == [f"train/weight/{task}" for task in TASKS if has_weights]
    assert all(len(curve) == 2 for curve in weights.values())


def test_losses_and_accuracies_are_those_of_all_rows_at_the_end():
    kept = {}
    result = train(epochs=2, keep=kept, splits=splits(test=Points(1500, seed=9)))  # more than one batch
    test = Points(1500, seed=9)
    model = kept["model"].eval()
    outputs = model(test.points)
    for task in TASKS:
        loss = cross_entropy(outputs[task], test.targets[task]).item()
        accuracy = (outputs[task].argmax(dim=1) == test.targets[task]).double().mean().item()
        assert result.metrics[f"test/loss/{task}"] == pytest.approx(loss, rel=1e-5)
        assert result.metrics[f"test/accuracy/{task}"] == pytest.approx(accuracy, rel=1e-6)


def test_set_without_validation_has_no_such_numbers_and_the_same_others():
    without = splits()
    del without["validation"]
    alone, both = train(splits=without), train()
    assert alone.curves == {name: curve for name, curve in both.curves.items() if not name.startswith("validation/")}
    assert alone.metrics == {name: value for name, value in both.metrics.items() if name.startswith("test/")}


def test_early_stopping_needs_validation():
    without = splits()
    del without["validation"]
    with pytest.raises(InputError, match="set patience to 0"):
        train(splits=without, patience=1)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_evaluation_batch_size_changes_nothing_but_rounding(size):
    seen = []

    class Watched(Points):
        def batches(self, batch_size, generator=None):
            seen.append(batch_size)
            return super().batches(batch_size, generator)

    result = train(splits=splits(test=Watched(30, 2)), evaluation_batch_size=size)
    assert set(seen) == {max(size, 16)}
    assert result.metrics == pytest.approx(train().metrics, rel=1e-5)


class Both(Metric):
    """Share of rows at which both tasks are right."""

    def __init__(self):
        super().__init__()
        self.add_state("right", torch.zeros(()))
        self.add_state("rows", torch.zeros(()))

    def update(self, outputs, targets):
        right = torch.stack([outputs[task].argmax(dim=1) == targets[task] for task in TASKS]).all(dim=0)
        self.right += right.sum()
        self.rows += len(right)

    def compute(self):
        return self.right / self.rows


def test_metrics_of_all_tasks_together():
    kept = {}
    result = train(keep=kept, together={"both": MetricCollection({"accuracy": Both()})}, evaluation_batch_size=4)
    data = splits()["test"]
    outputs = kept["model"].eval()(data.points)
    right = [outputs[task].argmax(dim=1) == data.targets[task] for task in TASKS]
    assert result.metrics["test/accuracy/both"] == pytest.approx((right[0] & right[1]).float().mean().item())
    assert len(result.curves["validation/accuracy/both"]) == 3
    others = {name: value for name, value in result.metrics.items() if not name.endswith("/both")}
    assert others == pytest.approx(train().metrics, rel=1e-5)


def test_training_curves_are_means_over_steps():
    # A learning rate of 0: the model stays, and steps differ by their rows alone.
    kept = {}
    result = train("adaptive", epochs=1, lr=0.0, keep=kept, batch_size=35, splits=splits(train=Points(70, 0)))
    model, order = kept["model"].eval(), torch.randperm(70, generator=torch.Generator().manual_seed(0))
    train_split, losses = Points(70, 0), []
    for rows in order.split(35):
        outputs = model(train_split.points[rows])
        losses.append(torch.stack([cross_entropy(outputs[task], train_split.targets[task][rows]) for task in TASKS]))
    weights = torch.stack([2 * loss / loss.sum() for loss in losses]).mean(dim=0)
    # dropout moves the training losses a little
    assert result.curves["train/loss/easy"][0] == pytest.approx(torch.stack(losses).mean(dim=0)[0].item(), rel=0.1)
    assert result.curves["train/weight/easy"][0] == pytest.approx(weights[0].item(), rel=0.1)
    assert result.curves["train/weight/easy"][0] + result.curves["train/weight/hard"][0] == pytest.approx(2)
    assert result.curves["train/weight/hard"][0] > result.curves["train/weight/easy"][0]


def test_balancer_is_told_that_an_epoch_has_ended():
    curves = train("adaptive(every=epoch)", epochs=3).curves
    assert curves["train/weight/easy"][0] == 1
    for epoch in (1, 2):
        easy, hard = (curves[f"train/loss/{task}"][epoch - 1] for task in TASKS)
        assert curves["train/weight/easy"][epoch] == pytest.approx(2 * easy / (easy + hard), rel=1e-5)
    dwa = train("dwa", epochs=3).curves["train/weight/easy"]
    assert dwa[:2] == [1, 1]
    assert dwa[2] != 1


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_outcome_to_the_bit(method):
    models = [{}, {}]
    first, second = (outcome(train(method, keep=kept)) for kept in models)
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(*(weights_of(kept["model"]) for kept in models), strict=True))


def test_other_seed_other_outcome():
    assert outcome(train(seed=0)) != outcome(train(seed=1))


def test_seed_decides_the_order_of_the_rows():
    orders = []
    for seed in (0, 0, 1):
        seen = []

        class Watched(Points):
            def batches(self, batch_size, generator=None, seen=seen):
                for batch in super().batches(batch_size, generator):
                    seen.append(batch[0][0])
                    yield batch

        train(seed=seed, epochs=2, splits=splits(train=Watched(70, 0)))
        orders.append(torch.cat(seen))
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    assert not torch.equal(orders[0][:70], orders[0][70:])


def test_evaluation_leaves_training_alone():
    kept, kept_other = {}, {}
    train(keep=kept)
    train(keep=kept_other, splits=splits(test=Points(2000, seed=7), validation=Points(999, seed=8)))
    assert all(
        torch.equal(a, b) for a, b in zip(weights_of(kept["model"]), weights_of(kept_other["model"]), strict=True)
    )


@pytest.mark.parametrize(
    ("method", "options", "n_lists"), [("uncertainty", {}, 1), ("single_step", {"trace": 99}, 1 + 2)]
)
def test_device_is_read_once_an_epoch(monkeypatch, method, options, n_lists):
    class Reads(TorchDispatchMode):
        """Counts the numbers that are fetched one at a time."""

        count = 0

        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            self.count += function is torch.ops.aten._local_scalar_dense.default
            return function(*arguments, **(keywords or {}))

    lists, tolist = Counter(), torch.Tensor.tolist
    monkeypatch.setattr(torch.Tensor, "tolist", lambda tensor: lists.update(["read"]) or tolist(tensor))
    with Reads() as reads:
        torch.ones(()).item()
        train(method, epochs=5, **options)
    assert reads.count == 1  # the one just above
    assert lists["read"] == 5 * n_lists  # one of all curves, and one of each trace


@pytest.mark.parametrize("method", ["equal", "adaptive"])
def test_step_length_is_how_far_a_step_moves_the_shared_parameters(method):
    # Plain gradient descent on one output a task: with the encoder's weight w (2,) and the heads' a and b, the losses
    # are (a w x - y)^2 / 2 and so on, and their gradients by w are (a w x - y) a x.
    points, rate = Points(6, 0).points, 0.1
    targets = {"one": points[:, 0] - 2 * points[:, 1], "two": points.sum(dim=1)}
    model = MultiTaskModel(nn.Linear(2, 1, bias=False), {task: nn.Linear(1, 1, bias=False) for task in targets})
    balancer = balancing.create(method, n_tasks=2)

    class Regression(Points):
        def batches(self, batch_size, generator=None):
            for begin in (0, 3):
                rows = slice(begin, begin + 3)
                yield (points[rows],), {task: target[rows, None] for task, target in targets.items()}

    w = model.encoder.weight.detach().double().numpy().ravel().copy()
    heads = [head.weight.item() for head in model.heads.values()]
    expected = []
    for _ in range(2):
        lengths = []
        for rows in (slice(0, 3), slice(3, 6)):
            x = points[rows].double().numpy()
            errors = [a * x @ w - y[rows].double().numpy() for a, y in zip(heads, targets.values(), strict=True)]
            losses = [(error**2).mean() / 2 for error in errors]
            weights = [1, 1] if method == "equal" else [2 * loss / sum(losses) for loss in losses]
            step = rate * sum(
                k * a * (error[:, None] * x).mean(axis=0) for k, a, error in zip(weights, heads, errors, strict=True)
            )
            heads = [
                a - rate * k * (error * (x @ w)).mean() for k, a, error in zip(weights, heads, errors, strict=True)
            ]
            w = w - step
            lengths.append((step**2).sum() ** 0.5)
        expected.append(sum(lengths) / 2)

    part = Regression(6, 0)
    result = training.train(
        model=model,
        balancer=balancer,
        optimizer=torch.optim.SGD(model.parameters(), lr=rate),
        losses=dict.fromkeys(targets, lambda output, target: (output - target).square().mean() / 2),
        metrics={},
        splits={"train": part, "validation": part, "test": part},
        epochs=2,
        batch_size=3,
        seed=0,
        step_length=True,
    )
    assert result.curves["train/step_length"] == pytest.approx(expected, rel=1e-4)
    assert "train/step_length" not in result.metrics


def test_step_length_without_a_learning_rate_is_0():
    # and with one, it counts what momentum does, and the last, smaller batch as any other
    assert train(epochs=2, lr=0.0, step_length=True).curves["train/step_length"] == [0, 0]
    kept, moved = {}, []

    class Watched(Points):
        def batches(self, batch_size, generator=None):
            for batch in super().batches(batch_size, generator):
                before = [parameter.detach().clone() for parameter in kept["model"].shared_parameters()]
                yield batch
                after = kept["model"].shared_parameters()
                moved.append(sum((a - b).square().sum().item() for a, b in zip(after, before, strict=True)) ** 0.5)

    result = train(epochs=1, momentum=0.9, keep=kept, step_length=True, splits=splits(train=Watched(70, 0)))
    assert len(moved) == 5
    assert result.curves["train/step_length"] == [pytest.approx(sum(moved) / 5, rel=1e-5)]


@pytest.mark.parametrize("method", METHODS)
def test_step_length_changes_no_other_number(method):
    models = [{}, {}]
    with_it = train(method, keep=models[0], momentum=0.9, step_length=True)
    without = train(method, keep=models[1], momentum=0.9)
    assert "train/step_length" not in without.curves
    lengths = with_it.curves.pop("train/step_length")
    assert len(lengths) == 3
    assert min(lengths) > 0
    assert outcome(with_it) == outcome(without)
    assert all(torch.equal(a, b) for a, b in zip(*(weights_of(kept["model"]) for kept in models), strict=True))


def test_step_length_of_channels_last_weights():
    class Images(Points):
        def batches(self, batch_size, generator=None):
            for (points,), targets in super().batches(batch_size, generator):
                yield (points.view(-1, 2, 1, 1).expand(-1, -1, 3, 3),), targets

    curves = []
    for layout in (torch.contiguous_format, torch.channels_last):
        torch.manual_seed(0)
        encoder = nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten())
        model = MultiTaskModel(encoder, {task: nn.Linear(4, n) for task, n in TASKS.items()}).to(memory_format=layout)
        assert encoder[0].weight.is_contiguous(memory_format=layout)
        result = training.train(
            model=model,
            balancer=balancing.create("equal", n_tasks=2),
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            losses=dict.fromkeys(TASKS, cross_entropy),
            metrics={},
            splits={name: Images(20, 0) for name in ("train", "validation", "test")},
            epochs=2,
            batch_size=8,
            seed=0,
            step_length=True,
        )
        curves.append(result.curves["train/step_length"])
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


class Scripted(Balancer):
    """Equal weights, and something to be recorded of the n-th step."""

    def __init__(self, n_tasks, script):
        super().__init__(n_tasks)
        self.script, self.n = script, 0

    def weigh(self, losses):
        return torch.ones_like(losses)

    def step(self, closure, model, optimizer):
        losses = super().step(closure, model, optimizer)
        self.traced = self.script(self.n, closure)
        self.n += 1
        return losses


@pytest.fixture
def scripted_method(monkeypatch):
    """Make ``train`` use a :class:`Scripted` method, given its script."""
    return lambda script: monkeypatch.setattr(balancing, "create", lambda method, n_tasks: Scripted(n_tasks, script))


@pytest.mark.parametrize("trace", [0, 1, N_STEPS, N_STEPS + 2, 3 * N_STEPS, 99])
def test_trace_is_of_the_first_steps(scripted_method, trace):
    scripted_method(lambda n, _: {"number": torch.tensor([1.0 + n, -1.0 - n])})
    result = train(epochs=3, trace=trace)
    n = min(trace, 3 * N_STEPS)
    assert list(result.traces) == [f"step/{what}/{task}" for what in ("loss", "number") for task in TASKS if n]
    if n:
        assert result.traces["step/number/easy"] == list(range(1, n + 1))
        assert result.traces["step/number/hard"] == [-i for i in range(1, n + 1)]
    whole = train(epochs=3, trace=99)
    assert result.traces == {name: values[:n] for name, values in whole.traces.items() if n}
    for task in TASKS:
        losses = whole.traces[f"step/loss/{task}"]
        means = [sum(losses[i : i + N_STEPS]) / N_STEPS for i in range(0, 3 * N_STEPS, N_STEPS)]
        assert means == pytest.approx(whole.curves[f"train/loss/{task}"], rel=1e-3)


def test_trace_has_four_digits_and_nothing_that_is_not_finite(scripted_method):
    values = [12345.6, -0.000123449, math.nan, math.inf, -math.inf, 2 / 3, 0.0]
    scripted_method(lambda n, _: {"what": torch.tensor([values[n], 1.0])})
    result = train(epochs=1, batch_size=10, trace=99)
    assert result.traces["step/what/easy"] == [12350.0, -0.0001234, None, None, None, 0.6667, 0.0]
    assert result.traces["step/what/hard"] == [1.0] * 7
    assert [float(f"{loss:.4g}") for loss in result.traces["step/loss/easy"]] == result.traces["step/loss/easy"]


def test_trace_of_single_steps():
    # A step of its own makes a task better off, summed over steps (single ones differ by dropout).
    result = train("single_step(alpha=0.1)", seed=3, trace=7)
    assert {name: len(values) for name, values in result.traces.items()} == {
        f"step/{what}/{task}": 7 for what in ("loss", "stepped_loss") for task in TASKS
    }
    for task in TASKS:
        before, after = (sum(result.traces[f"step/{what}/{task}"]) for what in ("loss", "stepped_loss"))
        assert 0 < after < before
    unmoved = train("single_step(alpha=0)", seed=3, trace=7, splits=splits(train=Breaks(epoch=2))).traces
    assert [value is None for value in unmoved["step/stepped_loss/easy"]] == [False] * N_STEPS + [True] * 2


@pytest.mark.parametrize("method", METHODS)
def test_trace_changes_no_other_number_and_is_of_methods_with_more_than_losses(method):
    kept = {}
    with_it, without = outcome(train(method, epochs=2, trace=7, keep=kept)), outcome(train(method, epochs=2))
    assert bool(with_it.pop("traces")) == bool(kept["balancer"].traced)
    assert without.pop("traces") == {}
    assert with_it == without


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_closure_of_one_task_is_its_loss_and_runs_no_other_head(scripted_method, precision):
    kept, ran, calls = {}, [], []

    def compare(n, closure):
        if not n:
            for task, head in kept["model"].heads.items():
                head.register_forward_hook(lambda *_, task=task: ran.append(task))
        ran.clear()
        torch.manual_seed(n)  # for the dropout
        everything = [closure()]
        assert ran == list(TASKS)
        for i, task in enumerate(TASKS):
            ran.clear()
            torch.manual_seed(n)
            loss = closure.of(i)
            assert ran == [task]
            everything.append(loss)
        assert [each.shape for each in everything] == [(2,), (), ()]
        assert {each.dtype for each in everything} == {torch.float32}
        assert all(each.requires_grad for each in everything)
        assert torch.equal(everything[0], torch.stack(everything[1:]))
        calls.append(everything[0].detach())
        return {}

    scripted_method(compare)
    result = train(epochs=1, keep=kept, precision=precision, trace=99)
    assert len(torch.stack(calls).unique(dim=0)) == N_STEPS  # each is of its own batch
    assert result.traces == {}


@pytest.mark.parametrize("device", DEVICES)
def test_processor_time_is_that_of_steps_alone_and_not_of_waiting(device):
    class Waits(Points):
        def batches(self, batch_size, generator=None):
            for batch in super().batches(batch_size, generator):
                time.sleep(0.03)
                yield batch

    class Works(Points):
        def batches(self, batch_size, generator=None):
            started = time.process_time()
            while time.process_time() < started + 0.3:
                pass
            yield from super().batches(batch_size, generator)

    given = {"train": Waits(70, 0, device), "validation": Works(20, 1, device)}
    timing = train(epochs=2, device=device, splits=splits(device, **given)).timing
    assert timing.seconds_per_step > 0.03 or device == "cuda"
    if device == "cuda":
        assert timing.processor_seconds_per_step is None
    else:
        assert 0 < timing.processor_seconds_per_step < timing.seconds_per_step - 0.025
        assert timing.processor_seconds_per_step * timing.steps < 2 * 0.3


class Types(MetricCollection):
    """Metrics that note what type the outputs have which they are given."""

    def __init__(self, n_classes):
        super().__init__(dict(metrics.classification(n_classes)))
        self.seen = set()

    def update(self, output, target):
        self.seen.add(output.dtype)
        super().update(output, target)


def test_half_precision():
    measured = {task: Types(n) for task, n in TASKS.items()}
    full, half = train(epochs=8), train(epochs=8, precision="bf16", metrics=measured)
    assert {task: each.seen for task, each in measured.items()} == {task: {torch.bfloat16} for task in TASKS}
    assert half.status == "completed"
    assert half.curves != full.curves
    for name, value in full.metrics.items():
        assert half.metrics[name] == pytest.approx(value, abs=0.1)


# How it ends


class Breaks(Points):
    """Training points that turn into what is not a number from some epoch on, counted from 1."""

    def __init__(self, epoch):
        super().__init__(70, 0)
        self.epoch = epoch

    def batches(self, batch_size, generator=None):
        self.epoch -= 1
        for (points,), targets in super().batches(batch_size, generator):
            yield (points * (math.nan if self.epoch <= 0 else 1),), targets


@pytest.mark.parametrize("method", METHODS)
def test_loss_that_is_not_finite_ends_training_and_keeps_what_was_before(method, capsys):
    whole = train(method, epochs=4)
    result = train(method, epochs=4, splits=splits(train=Breaks(epoch=3)))
    assert result.status == "diverged"
    assert result.message == "epoch 3: train/loss/easy is not finite"
    assert result.selected_epoch is None
    assert set(result.metrics) == set(whole.metrics)
    assert set(result.metrics.values()) == {None}
    for name, curve in result.curves.items():
        assert len(curve) == 3
        assert curve[:2] == whole.curves[name][:2]
        assert all(value is None or math.isfinite(value) for value in curve)
    assert result.curves["train/loss/easy"][2] is None
    assert "diverged at epoch 3" in capsys.readouterr().err


def test_message_names_the_task_that_broke():
    def broken(output, target):
        return cross_entropy(output, target) * math.inf

    # one step an epoch: with more, the first makes the model useless for every task
    result = train(losses={"easy": cross_entropy, "hard": broken}, batch_size=70)
    assert result.message == "epoch 1: train/loss/hard is not finite"


def test_too_high_a_learning_rate_diverges():
    result = train("adaptive(detach=false)", lr=1e38, epochs=20)
    assert result.status == "diverged"


def scripted(losses):
    """A loss whose value in the n-th validation is the n-th of ``losses``, whatever the model does."""
    position = iter(losses)
    state = {"value": None}

    class Validation(Points):
        def batches(self, batch_size, generator=None):
            state["value"] = next(position)
            yield from super().batches(batch_size, generator)
            state["value"] = None

    def loss(output, target):
        value = cross_entropy(output, target)
        return value if state["value"] is None else value * 0 + state["value"]

    return {"losses": dict.fromkeys(TASKS, loss), "splits": splits(validation=Validation(20, 1))}


@pytest.mark.parametrize(
    ("losses", "patience", "best", "last"),
    [
        ([5, 4, 3, 3.5, 3.2, 9, 1], 2, 3, 5),  # 1 would come too late
        ([5, 4, 3, 3.5, 2, 9, 8], 2, 5, 7),  # the first bad epoch is forgotten
        ([1, 2, 2, 2, 2, 2, 2], 3, 1, 4),
        ([1, 1, 1, 1, 1, 1, 1], 1, 1, 2),  # as good is not better
        ([7, 6, 5, 4, 3, 2, 1], 1, 7, 7),
        ([7, 6, 5, 4, 3, 2, 8], 9, 6, 7),
    ],
)
def test_early_stopping_reports_the_best_validation_epoch(losses, patience, best, last):
    result = train(epochs=7, patience=patience, **scripted(losses))
    assert result.status == "completed"
    assert result.selected_epoch == best
    assert [len(curve) for curve in result.curves.values()] == [last] * len(result.curves)
    assert result.metrics == {name: result.curves[name][best - 1] for name in result.metrics}
    assert result.metrics["validation/loss/hard"] == losses[best - 1]
    assert result.message == ("" if last == 7 and best + patience > 7 else f"stopped early after epoch {last}")


def test_without_patience_the_last_epoch_counts():
    result = train(epochs=3, **scripted([1, 2, 3]))
    assert result.selected_epoch == 3
    assert result.metrics["validation/loss/easy"] == 3


def test_early_stopping_looks_at_the_sum_over_tasks():
    one, other = scripted([1, 3, 1, 1]), scripted([5, 1, 5, 5])
    validation = one["splits"]["validation"]

    class Both(Points):
        def batches(self, batch_size, generator=None):
            for batch, _ in zip(
                validation.batches(batch_size), other["splits"]["validation"].batches(batch_size), strict=True
            ):
                yield batch

    losses = {"easy": one["losses"]["easy"], "hard": other["losses"]["hard"]}
    result = train(epochs=4, patience=2, losses=losses, splits=splits(validation=Both(20, 1)))
    assert result.selected_epoch == 2  # 4 is less than 6


def learning_rates(momentum=0.0, **options):
    """The learning rate (and momentum) of every step."""
    kept, seen = {}, []

    class Watched(Points):
        def batches(self, batch_size, generator=None):
            for batch in super().batches(batch_size, generator):
                group = kept["optimizer"].param_groups[0]
                seen.append((group["lr"], group["momentum"]))
                yield batch

    train(keep=kept, momentum=momentum, splits=splits(train=Watched(70, 0)), **options)
    return [rate for rate, _ in seen], [momentum for _, momentum in seen]


def test_one_cycle_rises_to_the_learning_rate_and_falls_to_almost_0():
    rates, momenta = learning_rates(schedule="one_cycle", epochs=4, lr=0.3)
    assert len(rates) == 4 * 5
    peak = rates.index(max(rates))
    assert max(rates) == pytest.approx(0.3)
    assert rates[0] == pytest.approx(0.3 / 25)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert peak == pytest.approx(0.3 * 20, abs=1)
    assert rates[-1] < 1e-4 * rates[0]
    assert set(momenta) == {0}


def test_one_cycle_cycles_momentum_where_there_is_momentum():
    rates, momenta = learning_rates(schedule="one_cycle", epochs=4, momentum=0.9)
    assert momenta.index(min(momenta)) == rates.index(max(rates))
    assert min(momenta) == pytest.approx(0.85)


def test_schedule_starts_anew_where_it_is_asked_to():
    twice, _ = learning_rates(schedule="one_cycle", epochs=4, lr=0.3, restart=10)
    once, _ = learning_rates(schedule="one_cycle", epochs=2, lr=0.3)
    assert twice == pytest.approx(once * 2)


def test_cycle_of_one_step_has_the_rate_itself():
    rates, _ = learning_rates(schedule="one_cycle", epochs=1, lr=0.3, batch_size=70)
    assert rates == [0.3]


def test_constant_schedule():
    rates, _ = learning_rates(epochs=2, lr=0.3)
    assert rates == [0.3] * 10


@pytest.mark.parametrize("epochs", [1, 2, 3])
def test_halving_halves_the_learning_rate_after_half_of_the_steps(epochs):
    rates, _ = learning_rates(schedule="halving", epochs=epochs, lr=0.3)
    first = math.ceil(epochs * N_STEPS / 2)
    assert rates == [0.3] * first + [0.15] * (epochs * N_STEPS - first)


# What a model has besides its outputs


@pytest.mark.parametrize(
    "method", ["equal", "pareto_mtl", "mgda", "split_only", "single_step", "single_step(second_order=true)"]
)
def test_penalty_of_a_model_is_minimised_with_the_losses(monkeypatch, method):
    # Half the squares times 0.1 are a weight decay of 0.1, which PyTorch has in its own way.
    kept = [{}, {}]
    train(method, lr=0.1, weight_decay=0.1, keep=kept[0])
    monkeypatch.setattr(MultiTaskModel, "penalty", lambda self: 0.05 * sum(p.square().sum() for p in self.parameters()))
    train(method, lr=0.1, keep=kept[1])
    decayed, penalised = (weights_of(each["model"]) for each in kept)
    torch.testing.assert_close(penalised, decayed, rtol=1e-4, atol=1e-6)
    monkeypatch.undo()
    train(method, lr=0.1, keep=kept[0])
    assert not torch.allclose(weights_of(kept[0]["model"])[0], penalised[0], rtol=1e-2)


def test_penalty_of_one_part_leaves_the_others_alone(monkeypatch):
    kept = [{}, {}]
    train(lr=0.1, epochs=1, keep=kept[0], batch_size=70)
    monkeypatch.setattr(MultiTaskModel, "penalty", lambda self: self.heads["easy"].weight.square().sum())
    train(lr=0.1, epochs=1, keep=kept[1], batch_size=70)
    plain, penalised = (dict(each["model"].named_parameters()) for each in kept)
    changed = {name for name in plain if not torch.equal(plain[name], penalised[name])}
    assert changed == {"heads.easy.weight"}


def test_model_is_told_that_an_epoch_has_ended(monkeypatch):
    told = []
    monkeypatch.setattr(MultiTaskModel, "end_epoch", lambda self: told.append(self.training))
    train(epochs=3)
    assert told == [True] * 3


# Interrupted and resumed


class Interrupted(Points):
    """Training points that stop in the middle of an epoch, counted from 1."""

    def __init__(self, epoch, device="cpu"):
        super().__init__(70, 0, device)
        self.epoch = epoch

    def batches(self, batch_size, generator=None):
        self.epoch -= 1
        for i, batch in enumerate(super().batches(batch_size, generator)):
            if self.epoch == 0 and i == 2:
                raise KeyboardInterrupt
            yield batch


def interrupted_at(at, path, device="cpu", **options):
    """Train with an interruption in each of the epochs ``at``, and once more to the end."""
    for epoch, done in zip(at, [0, *(epoch - 1 for epoch in at)], strict=False):
        with pytest.raises(KeyboardInterrupt):
            # what was done before is not done again
            train(
                checkpoint=path,
                device=device,
                splits=splits(device, train=Interrupted(epoch - done, device)),
                **options,
            )
    torch.rand(3)  # whatever happens in between
    return train(checkpoint=path, device=device, **options)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"schedule": "one_cycle", "momentum": 0.9, "patience": 3, "step_length": True, "trace": 3 * N_STEPS + 2},
        {"schedule": "one_cycle", "restart": 3 * N_STEPS - 1},
    ],
    ids=["", "cycle", "restart"],
)
def test_interrupted_training_ends_as_an_uninterrupted_one(method, options, device, tmp_path):
    models = [{}, {}]
    options = {"epochs": 5, **options}
    expected = train(method, device=device, keep=models[0], **options)
    path = tmp_path / "folder" / "checkpoint.pt"
    result = interrupted_at([2, 4], path, device, method=method, keep=models[1], **options)
    assert outcome(result) == outcome(expected)
    assert {len(steps) for steps in result.traces.values()} <= {3 * N_STEPS + 2}
    assert bool(result.traces) == ("trace" in options and bool(models[0]["balancer"].traced))
    assert all(torch.equal(a, b) for a, b in zip(*(weights_of(kept["model"]) for kept in models), strict=True))
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_early_stopping_counts_across_an_interruption(tmp_path):
    losses = [3, 2, 2.5, 2.6, 1, 1]
    expected = train(epochs=6, patience=2, **scripted(losses))
    assert expected.selected_epoch == 2
    given = scripted(losses[:2])
    given["splits"]["train"] = Interrupted(3)
    with pytest.raises(KeyboardInterrupt):
        train(epochs=6, patience=2, checkpoint=tmp_path / "c.pt", **given)
    result = train(epochs=6, patience=2, checkpoint=tmp_path / "c.pt", **scripted(losses[2:]))
    assert outcome(result) == outcome(expected)


def test_interrupted_before_an_epoch_ends_nothing_is_kept(tmp_path):
    result = interrupted_at([1], tmp_path / "c.pt")
    assert outcome(result) == outcome(train())


def test_time_of_all_parts_counts(tmp_path):
    result = interrupted_at([3], tmp_path / "c.pt")
    stored = torch.load(tmp_path / "c.pt", weights_only=True)["progress"]
    assert result.timing.total_seconds > stored["seconds"] > 0
    assert result.timing.processor_seconds_per_step * result.timing.steps > stored["processor_seconds"] > 0
    assert result.timing.steps == 3 * 5


def test_last_epoch_needs_no_checkpoint(tmp_path):
    train(epochs=1, checkpoint=tmp_path / "c.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_broken_checkpoint_starts_again_with_a_note(tmp_path, capsys, content):
    path = tmp_path / "c.pt"
    with pytest.raises(KeyboardInterrupt):
        train(checkpoint=path, splits=splits(train=Interrupted(3)))
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    result = train(checkpoint=path)
    (note,) = capsys.readouterr().err.splitlines()
    assert note.startswith(f"{path}: not a readable checkpoint")
    assert outcome(result) == outcome(train())


def test_foreign_checkpoint_starts_again_with_a_note(tmp_path, capsys):
    path = tmp_path / "c.pt"
    torch.save({"weights": torch.ones(3)}, path)
    result = train(checkpoint=path)
    assert f"{path}: not a readable checkpoint" in capsys.readouterr().err
    assert outcome(result) == outcome(train())


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("write failed")])
def test_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, error):
    path, save, calls = tmp_path / "c.pt", torch.save, []

    def full(stored, file):
        calls.append(1)
        if len(calls) == 2:
            file.write_bytes(b"half")
            raise error
        save(stored, file)

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(InputError, match="cannot be written") as raised:
        train(epochs=4, checkpoint=path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)
    assert list(tmp_path.iterdir()) == [path]
    assert torch.load(path, weights_only=True)["progress"]["epoch"] == 1
    # with room again, training goes on from there
    assert outcome(train(epochs=4, checkpoint=path)) == outcome(train(epochs=4))
    assert len(calls) == 2 + 2


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        train(checkpoint=tmp_path / "file" / "c.pt")
