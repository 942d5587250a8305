"""Split-only and single gradient steps: closed forms, a slow oracle, and the model left as it was."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mtlutils import balancing
from mtlutils.balancing.split_only import substituted
from mtlutils.errors import InputError
from mtlutils.models import MultiTaskModel

METHODS = ["split_only", "single_step", "single_step(alpha=0.3)", "single_step(alpha=0.3, second_order=true)"]


class Curves(MultiTaskModel):
    """Tasks L_i(s, h_i) = slope_i s + curvature_i s² / 2 + s h_i of a shared number s and a number h_i a task."""

    def __init__(self, slopes, curvatures, start=0.5, heads=(0.1, -0.2, 0.7)):
        shared = nn.ParameterList([nn.Parameter(torch.tensor(start, dtype=torch.float64))])
        each = {str(i): nn.ParameterList([torch.tensor(heads[i], dtype=torch.float64)]) for i in range(len(slopes))}
        super().__init__(shared, each)
        self.slopes, self.curvatures = torch.tensor([slopes, curvatures], dtype=torch.float64)

    @property
    def point(self):
        return self.encoder[0]

    @property
    def own(self):
        return torch.stack([head[0] for head in self.heads.values()])

    def forward(self):
        return self.slopes * self.point + self.curvatures * self.point.square() / 2 + self.point * self.own


# A valley and a ridge: of two tasks, one has positive and one negative curvature, as in the paper's Figure 1.
VALLEY_AND_RIDGE = {"slopes": [1.0, 0.4], "curvatures": [2.0, -3.0]}


@pytest.mark.parametrize(
    ("method", "factor", "alpha"),
    [
        ("split_only", lambda alpha, curvature: 1, 0.0),
        ("single_step(alpha=0)", lambda alpha, curvature: 1, 0.0),
        ("single_step(alpha=0.3)", lambda alpha, curvature: 1 - alpha * curvature, 0.3),
        ("single_step", lambda alpha, curvature: 1 - alpha * curvature, 0.1),  # the optimiser's rate
        ("single_step(alpha=0.3, second_order=true)", lambda alpha, curvature: (1 - alpha * curvature) ** 2, 0.3),
        ("single_step(second_order=true)", lambda alpha, curvature: (1 - alpha * curvature) ** 2, 0.1),
    ],
)
def test_closed_form_on_a_valley_and_a_ridge(method, factor, alpha):
    model = Curves(**VALLEY_AND_RIDGE)
    balancer, beta = balancing.create(method, 2), 0.1
    optimizer = torch.optim.SGD(model.parameters(), lr=beta)
    for _ in range(3):
        s, own = model.point.item(), model.own.tolist()
        # On a parabola, a gradient after a step of alpha is the one before it times 1 - alpha * curvature; the second
        # order has that factor once more, since d(s - alpha * gradient)/ds is the same.
        gradients = [k + c * s + h for k, c, h in zip(*VALLEY_AND_RIDGE.values(), own, strict=True)]
        factors = [factor(alpha, curvature) for curvature in VALLEY_AND_RIDGE["curvatures"]]
        expected = s - beta * sum(f * g for f, g in zip(factors, gradients, strict=True))
        losses = model().tolist()
        assert balancer.step(model, model, optimizer).tolist() == pytest.approx(losses)
        assert model.point.item() == pytest.approx(expected, rel=1e-9)
        # A head's gradient is s, and it sees the new one.
        assert model.own.tolist() == pytest.approx([h - beta * expected for h in own], rel=1e-9)
        if method != "split_only":
            moved = [s - alpha * g for g in gradients]
            parts = zip(*VALLEY_AND_RIDGE.values(), own, moved, strict=True)
            after = [k * x + c * x * x / 2 + h * x for k, c, h, x in parts]
            assert balancer.traced["stepped_loss"].tolist() == pytest.approx(after, rel=1e-9)


def test_gradient_falls_in_the_valley_and_grows_on_the_ridge():
    # What section 3.2 of the paper says, and what its Figure 1 draws.
    moves = []
    for curvature in VALLEY_AND_RIDGE["curvatures"]:
        for method in ("split_only", "single_step"):
            model = Curves([1.0], [curvature])
            balancing.create(method, 1).step(model, model, torch.optim.SGD(model.parameters(), lr=0.1))
            moves.append(abs(model.point.item() - 0.5))
    assert moves[1] < moves[0]
    assert moves[3] > moves[2]


# Networks, against an oracle that copies the model


class Batch:
    """The losses of a model on one batch, with a count of the passes; ``of`` where a single task is asked for."""

    def __init__(self, model, seed=0, n=12):
        generator = torch.Generator().manual_seed(seed)
        self.model, self.inputs = model, torch.randn(n, 1, 6, 6, generator=generator)
        self.targets = {task: torch.randint(3, (n,), generator=generator) for task in model.heads}

    def losses(self, model, tasks):
        outputs = model(self.inputs, tasks=tasks)
        return torch.stack([cross_entropy(outputs[task], self.targets[task]) for task in tasks])

    def __call__(self):
        return self.losses(self.model, list(self.model.heads))


class BatchByTask(Batch):
    def of(self, task):
        return self.losses(self.model, [list(self.model.heads)[task]])[0]


def network(n_tasks=3, seed=1):
    torch.manual_seed(seed)
    # No bias before batch norm: its gradient is rounding error, and some optimisers would make steps of that.
    first = nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Tanh()
    encoder = nn.Sequential(*first, nn.Flatten(), nn.Linear(64, 5), nn.Tanh())
    heads = {
        str(i): nn.Sequential(nn.Linear(5, 4, bias=False), nn.BatchNorm1d(4), nn.Linear(4, 3)) for i in range(n_tasks)
    }
    return MultiTaskModel(encoder, heads)


def oracle_step(model, batch, optimizer, alpha):
    """A first-order step, by way of one copy of the model a task."""
    start = copy.deepcopy(model)
    total = [torch.zeros_like(parameter) for parameter in model.shared_parameters()]
    for task in model.heads:
        temporary = copy.deepcopy(start)
        shared = list(temporary.shared_parameters())
        gradients = torch.autograd.grad(batch.losses(temporary, [task])[0], shared)
        with torch.no_grad():
            for parameter, gradient in zip(shared, gradients, strict=True):
                parameter -= alpha * gradient
        outer = torch.autograd.grad(batch.losses(temporary, [task])[0], shared)
        total = [a + b for a, b in zip(total, outer, strict=True)]
    optimizer.zero_grad()
    for parameter, gradient in zip(model.shared_parameters(), total, strict=True):
        parameter.grad = gradient
    optimizer.step()
    optimizer.zero_grad()
    moved = copy.deepcopy(model)
    own = torch.autograd.grad(batch.losses(moved, list(moved.heads)).sum(), list(moved.task_parameters()))
    for parameter, gradient in zip(model.task_parameters(), own, strict=True):
        parameter.grad = gradient
    optimizer.step()
    batch.losses(start, list(start.heads))  # one pass for the running statistics
    for ours, theirs in zip(model.buffers(), start.buffers(), strict=True):
        ours.copy_(theirs)


OPTIMIZERS = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True),
    "adam": lambda parameters: torch.optim.Adam(parameters, lr=0.01),
    "adamw": lambda parameters: torch.optim.AdamW(parameters, lr=0.01),
    "rmsprop": lambda parameters: torch.optim.RMSprop(parameters, lr=0.01, momentum=0.5),
    "adagrad": lambda parameters: torch.optim.Adagrad(parameters, lr=0.1),
}


@pytest.mark.parametrize("batch_of", [Batch, BatchByTask])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("alpha", [0.0, 0.2])
def test_equals_an_oracle_that_copies_the_model(alpha, optimizer, batch_of):
    ours, theirs = network(), network()
    our_optimizer, their_optimizer = (
        OPTIMIZERS[optimizer](ours.parameters()),
        OPTIMIZERS[optimizer](theirs.parameters()),
    )
    balancer = balancing.create("single_step" if alpha else "split_only", 3, **({"alpha": alpha} if alpha else {}))
    for seed in range(3):
        balancer.step(batch_of(ours, seed), ours, our_optimizer)
        oracle_step(theirs, Batch(theirs, seed), their_optimizer, alpha)
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], msg=name)


def test_shared_update_of_split_only_is_that_of_equal_weights():
    split, equal = network(), network()
    for method, model in (("split_only", split), ("equal", equal)):
        balancing.create(method, 3).step(Batch(model), model, torch.optim.SGD(model.parameters(), lr=0.1))
    for ours, theirs in zip(split.shared_parameters(), equal.shared_parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    differ = [not torch.allclose(a, b) for a, b in zip(split.task_parameters(), equal.task_parameters(), strict=True)]
    assert any(differ)


def test_second_order_is_the_gradient_of_the_losses_after_the_steps():
    torch.manual_seed(0)
    model = MultiTaskModel(nn.Linear(4, 3), {"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)}).double()
    x, y = torch.randn(6, 4, dtype=torch.float64), torch.randint(2, (6,))

    def losses():
        return torch.stack([cross_entropy(output.tanh(), y) for output in model(x).values()])

    def after_steps(weight):
        def task(task, weight):
            output = model.heads[task](x @ weight.T + model.encoder.bias)
            return cross_entropy(output.tanh(), y)

        total = 0
        for name in "ab":
            step = torch.autograd.grad(task(name, weight), [weight, model.encoder.bias], create_graph=True)
            output = model.heads[name](x @ (weight - 0.5 * step[0]).T + model.encoder.bias - 0.5 * step[1])
            total = total + cross_entropy(output.tanh(), y)
        return total

    start = model.encoder.weight.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(after_steps(start), start)
    balancer = balancing.create("single_step(alpha=0.5, second_order=true)", 2)
    balancer.step(losses, model, torch.optim.SGD(model.parameters(), lr=1.0))
    torch.testing.assert_close(start - model.encoder.weight, expected)
    assert not model.encoder.weight.grad_fn


# The model is left as it was


@pytest.mark.parametrize("method", METHODS)
def test_running_statistics_move_once_a_batch_as_in_ordinary_training(method):
    model, ordinary = network(), network()
    Batch(ordinary)()
    # A rate of 0: all passes but the first would otherwise see another model, and the test could not tell.
    balancing.create(method, 3).step(Batch(model), model, torch.optim.SGD(model.parameters(), lr=0.0))
    for (name, ours), theirs in zip(model.named_buffers(), ordinary.buffers(), strict=True):
        assert torch.equal(ours, theirs), name
    assert model.encoder[1].num_batches_tracked == 1


def tensors_of(model):
    return list(itertools.chain(model.parameters(), model.buffers()))


@pytest.mark.parametrize("method", METHODS)
def test_parameters_stay_the_same_objects(method):
    model = network()
    before, places = tensors_of(model), [tensor.data_ptr() for tensor in tensors_of(model)]
    balancing.create(method, 3).step(BatchByTask(model), model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(ours is theirs for ours, theirs in zip(tensors_of(model), before, strict=True))
    assert [tensor.data_ptr() for tensor in tensors_of(model)] == places
    assert all(parameter.is_leaf and parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("method", "n_passes"), [(METHODS[0], 2), *((method, 5) for method in METHODS[1:])])
def test_model_is_restored_when_a_pass_fails(method, n_passes):
    for failing in range(n_passes):
        model, calls = network(), itertools.count()
        batch = Batch(model)

        def closure(batch=batch, calls=calls, failing=failing):
            losses = batch()
            if next(calls) == failing:
                raise RuntimeError("out of memory")
            return losses

        objects, parameters = tensors_of(model), [p.detach().clone() for p in model.parameters()]
        shared = len(list(model.shared_parameters()))
        balancer, optimizer = balancing.create(method, 3), torch.optim.SGD(model.parameters(), lr=0.1)
        with pytest.raises(RuntimeError, match="out of memory"):
            balancer.step(closure, model, optimizer)
        assert all(ours is theirs for ours, theirs in zip(tensors_of(model), objects, strict=True))
        assert all(parameter.requires_grad for parameter in model.parameters())
        # The heads' pass comes last, when the shared parameters have moved already.
        moved = [not torch.equal(p, start) for p, start in zip(model.parameters(), parameters, strict=True)]
        assert moved == [failing == n_passes - 1 and i < shared for i in range(len(moved))]
        assert next(calls) == failing + 1
        balancer.step(closure, model, optimizer)  # and on it goes


def test_pass_count_and_only_one_head_after_a_temporary_step():
    model, batch = network(), None
    runs = dict.fromkeys(["encoder", *model.heads], 0)
    for name, module in {"encoder": model.encoder, **model.heads}.items():
        module.register_forward_hook(lambda *_, name=name: runs.update({name: runs[name] + 1}))
    batch = BatchByTask(model)
    balancing.create("single_step", 3).step(batch, model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert runs == {"encoder": 5, "0": 3, "1": 3, "2": 3}  # before, after the task's own step, and the heads' pass


def test_tied_parameters_are_stepped_in_all_their_places():
    torch.manual_seed(0)
    layer = nn.Linear(3, 3)
    model = MultiTaskModel(nn.Sequential(layer, nn.Tanh(), layer), {"a": nn.Linear(3, 1)})
    x = torch.randn(5, 3)
    expected = copy.deepcopy(model)
    shared = list(expected.shared_parameters())
    for parameter, gradient in zip(shared, torch.autograd.grad(expected(x)["a"].square().mean(), shared), strict=True):
        parameter.data -= 0.5 * gradient
    balancer = balancing.create("single_step(alpha=0.5)", 1)
    balancer.step(lambda: model(x)["a"].square().mean()[None], model, torch.optim.SGD(model.parameters(), lr=0.0))
    torch.testing.assert_close(balancer.traced["stepped_loss"][0], expected(x)["a"].square().mean().detach())


@pytest.mark.parametrize("method", METHODS)
def test_parameters_that_do_not_learn_stay(method):
    model = network()
    model.encoder[0].weight.requires_grad_(False)
    model.heads["1"][1].bias.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    balancing.create(method, 3).step(Batch(model), model, torch.optim.SGD(model.parameters(), lr=0.1))
    same = {name for name, value in model.named_parameters() if torch.equal(value, before[name])}
    assert same == {"encoder.0.weight", "heads.1.1.bias"}
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == same


@pytest.mark.parametrize("method", METHODS)
def test_model_whose_heads_have_nothing_to_learn(method):
    model = MultiTaskModel(nn.Linear(2, 2), {"a": nn.Identity(), "b": nn.Tanh()})
    start = model.encoder.weight.detach().clone()
    closure = lambda: torch.stack([output.square().mean() for output in model(torch.ones(3, 2)).values()])  # noqa: E731
    balancing.create(method, 2).step(closure, model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert not torch.equal(model.encoder.weight, start)


def test_temporary_step_takes_each_groups_own_rate():
    model = network(n_tasks=1)
    groups = [
        {"params": model.encoder[0].parameters(), "lr": 0.0},
        {"params": model.encoder[4].parameters(), "lr": 0.4},
        {"params": model.heads.parameters(), "lr": 0.0},
    ]  # batch norm's parameters are in none, and stay too
    batch = Batch(model)
    expected = copy.deepcopy(model)
    parameters = list(expected.encoder[4].parameters())
    for parameter, gradient in zip(
        parameters, torch.autograd.grad(batch.losses(expected, ["0"])[0], parameters), strict=True
    ):
        parameter.data -= 0.4 * gradient
    balancer = balancing.create("single_step", 1)
    balancer.step(batch, model, torch.optim.SGD(groups, lr=0.0))
    torch.testing.assert_close(balancer.traced["stepped_loss"], batch.losses(expected, ["0"]).detach())


def test_substituted_leaves_buffers_that_a_pass_replaces():
    module = nn.BatchNorm1d(2)
    own = module.running_mean
    with substituted(module, {}):
        module(torch.randn(4, 2))
        module.running_var = torch.zeros(2)
    assert module.running_mean is own
    assert torch.equal(own, torch.zeros(2))
    assert torch.equal(module.running_var, torch.ones(2))


@pytest.mark.parametrize(("alpha", "message"), [("-0.1", "not be negative"), (".nan", "be a finite number, or null")])
def test_wrong_alpha(alpha, message):
    with pytest.raises(InputError, match=rf"single_step.*alpha must {message}"):
        balancing.create(f"single_step(alpha={alpha})", 2)


@pytest.mark.parametrize("method", ["split_only", "single_step", "single_step(second_order=true)"])
@pytest.mark.parametrize("frozen", [True, False])
def test_without_shared_parameters_that_learn(method, frozen):
    model = network(n_tasks=2)
    if frozen:
        model.encoder.requires_grad_(False)
    else:
        model.shared_parameters = lambda: iter([])
    with pytest.raises(InputError, match="need shared parameters that learn; the model has none") as error:
        balancing.create(method, 2).step(Batch(model), model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "\n" not in str(error.value)


class Held:
    """Losses of which some come from a parameter that was taken out of the model, where no temporary one ever is."""

    def __init__(self, model, n_held):
        self.batch, self.kept, self.n_held = Batch(model), model.encoder[4].weight, n_held

    def __call__(self):
        held = self.kept.square().sum()
        losses = self.batch()
        return torch.stack([*losses[self.n_held :], *[held] * self.n_held])


class HeldByTask(Held):
    def of(self, task):
        return self()[task] if task < 2 - self.n_held else self.kept.square().sum()


@pytest.mark.parametrize(
    ("method", "closure_of", "n_held"),
    [
        ("single_step", Held, 2),
        ("single_step(alpha=0)", Held, 2),
        ("single_step", HeldByTask, 1),
    ],
)
def test_closure_that_holds_on_to_a_parameter_is_refused_and_the_model_left_alone(method, closure_of, n_held):
    model = network(n_tasks=2)
    before = [(parameter, parameter.detach().clone()) for parameter in model.parameters()]
    balancer, optimizer = balancing.create(method, 2), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with pytest.raises(InputError, match="do not come from the model's shared parameters") as error:
        balancer.step(closure_of(model, n_held), model, optimizer)
    assert "\n" not in str(error.value)
    for ours, (parameter, start) in zip(model.parameters(), before, strict=True):
        assert ours is parameter
        assert ours.requires_grad
        assert torch.equal(ours, start)
    assert not optimizer.state
    balancer.step(closure_of(model, 0), model, optimizer)  # and on it goes
    assert not torch.equal(model.encoder[4].weight, before[3][1])
