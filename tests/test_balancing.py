"""Balancing methods: what holds for all of them, what ties one to another, and values computed by hand."""

import copy
import math
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import nn

from mtlutils import balancing
from mtlutils.balancing.balancer import Balancer
from mtlutils.balancing.equal import Equal
from mtlutils.balancing.registry import Passes
from mtlutils.errors import InputError

ROOT = Path(__file__).parents[1]
OPTIONS = [
    "adaptive(detach=false)",
    "adaptive(every=epoch)",
    "logse(form=log_of_sum_of_exponentials)",
    "mgda(heads=weighted)",
    "rlw(distribution=bernoulli)",
    "slaw(start=published)",
    "slaw(start=zero)",
    "uncertainty(kinds=regression)",
]
METHODS = [*balancing.names(), *OPTIONS]
FAMILIES = {method.name: method.family for method in balancing.methods()}
WITHOUT_WEIGHTS = ["graddrop", "orthogonal", "single_step", "split_only"]
WEIGHTED = [method for method in METHODS if method not in WITHOUT_WEIGHTS]
# Those that minimise `combine`; a method's own tests say what the others do.
OF_LOSSES = [m for m in WEIGHTED if FAMILIES[balancing.parse(m)[0]] != "gradients" and m != "gradnorm"]
SUM_TO_N = [
    "equal",
    "dwa",
    "adaptive",
    "adaptive(every=epoch)",
    "gradnorm",
    "rlw",
    "rlw(distribution=bernoulli)",
    "slaw",
    "slaw(start=published)",
    "slaw(start=zero)",
]
SUM_TO_1 = ["famo", "imtl_g", "logse(form=log_of_sum_of_exponentials)", "mgda", "mgda(heads=weighted)", "random"]
WITH_A_MAIN_TASK = ["gradient_cosine"]  # the order of the tasks counts, and the weights sum to what they happen to
REMEMBER = [
    "adaptive(every=epoch)",
    "dwa",
    "famo",
    "gradnorm",
    "imtl_l",
    "pareto_mtl",
    "revised_uncertainty",
    "slaw",
    "slaw(start=published)",
    "slaw(start=zero)",
    "uncertainty",
    "uncertainty(kinds=regression)",
]
# Tests that compare two runs give both the same draws.
RANDOM = ["graddrop", "gradvac", "pcgrad", "random", "rlw", "rlw(distribution=bernoulli)"]
TARGETS = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.5, -1.0], [2.0, 0.1, 0.2], [-0.4, 0.8, 3.0]])


class Bowls(nn.Module):
    """T losses of one parameter vector that nothing but the vector decides: squared distances from T points."""

    def __init__(self, n_tasks=3):
        super().__init__()
        self.n_tasks = n_tasks
        self.point = nn.Parameter(torch.tensor([0.2, -0.1, 0.4]))

    def forward(self):
        return (self.point - TARGETS[: self.n_tasks]).square().sum(dim=1)

    def shared_parameters(self):
        return [self.point]

    def task_parameters(self):
        return []


class Given(nn.Module):
    """Losses of given values: each task has a parameter that is its loss, so that its gradient is its weight."""

    def __init__(self, losses):
        super().__init__()
        self.losses = nn.Parameter(torch.tensor(losses))

    def forward(self):
        return self.losses * 1

    def shared_parameters(self):
        return [self.losses]

    def task_parameters(self):
        return []


def sgd(model, balancer, lr):
    return torch.optim.SGD([*model.parameters(), *balancer.parameters()], lr=lr)


def give(balancer, *epochs):
    """Show a balancer the losses of whole epochs, each a list of steps, without learning anything from them."""
    for epoch in epochs:
        for losses in epoch:
            model = Given(losses)
            balancer.step(model, model, sgd(model, balancer, lr=0.0))
        balancer.end_epoch()


def weights_at(balancer, losses):
    """The weights that a balancer applies to losses of given values."""
    model = Given(losses)
    balancer.step(model, model, sgd(model, balancer, lr=0.0))
    torch.testing.assert_close(model.losses.grad, balancer.weights)
    return balancer.weights


def trained(method, n_tasks=3, epochs=2, steps=3, balancer=None, model=None):
    """A balancer and a model after some epochs, the balancer's state then far from where it started."""
    balancer = balancer or balancing.create(method, n_tasks)
    model = model or Bowls(n_tasks)
    optimizer = sgd(model, balancer, lr=0.02)
    for _ in range(epochs):
        for _ in range(steps):
            balancer.step(model, model, optimizer)
        balancer.end_epoch()
    return balancer, model


# What holds for every method


@pytest.mark.parametrize("n_tasks", [1, 2, 4])
@pytest.mark.parametrize("method", WEIGHTED)
def test_weights_are_what_was_applied(method, n_tasks):
    balancer, model = trained(method, n_tasks)
    gradients = [torch.autograd.grad(loss, model.point, retain_graph=True)[0] for loss in model()]
    balancer.step(model, model, sgd(model, balancer, lr=0.0))
    expected = sum(weight * gradient for weight, gradient in zip(balancer.weights, gradients, strict=True))
    torch.testing.assert_close(model.point.grad, expected)
    assert balancer.weights.shape == (n_tasks,)
    assert not balancer.weights.requires_grad


@pytest.mark.parametrize("method", OF_LOSSES)
def test_update_is_the_gradient_of_the_total(method):
    balancer, model = trained(method)
    before, again = balancer.state_dict(), balancing.create(method, 3)
    again.load_state_dict(before)
    torch.manual_seed(1)
    total = again.combine(model())
    (of_model, *of_balancer) = torch.autograd.grad(total, [model.point, *again.parameters()], allow_unused=True)
    torch.manual_seed(1)
    balancer.step(model, model, sgd(model, balancer, lr=0.0))
    torch.testing.assert_close(model.point.grad, of_model)
    for parameter, gradient in zip(balancer.parameters(), of_balancer, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


@pytest.mark.parametrize("method", [method for method in METHODS if method not in [*RANDOM, *WITH_A_MAIN_TASK]])
def test_permuted_tasks_permute_the_weights_and_leave_the_update(method):
    order = [2, 0, 1]
    weights, points = [], []
    for permutation in ([0, 1, 2], order):
        model, balancer = Bowls(), balancing.create(method, 3)
        optimizer = sgd(model, balancer, lr=0.02)
        each = []
        for _ in range(3):
            for _ in range(3):
                balancer.step(lambda model=model, p=permutation: model()[p], model, optimizer)
                each.append(balancer.weights)
            balancer.end_epoch()
        points.append(model.point.detach())
        weights.append(each)
    torch.testing.assert_close(points[1], points[0], rtol=1e-4, atol=1e-5)  # what the solvers leave
    if method not in WITHOUT_WEIGHTS:
        torch.testing.assert_close(torch.stack(weights[1]), torch.stack(weights[0])[:, order], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", [method for method in WEIGHTED if method not in WITH_A_MAIN_TASK])
def test_weights_sum_to_the_number_of_tasks_where_the_formula_says_so(method):
    balancer, model = trained(method, epochs=3)
    balancer.step(model, model, sgd(model, balancer, lr=0.0))
    total = balancer.weights.sum().item()
    assert math.isclose(total, 3, rel_tol=1e-5) == (method in SUM_TO_N)
    assert math.isclose(total, 1, rel_tol=1e-5) == (method in SUM_TO_1)


@pytest.mark.parametrize("method", [*SUM_TO_N, "adaptive(detach=false)"])
def test_scaling_all_losses_leaves_the_weights(method):
    weights = []
    for scale in (1.0, 1000.0):
        torch.manual_seed(1)
        balancer = balancing.create(method, 2)
        give(balancer, [[0.5 * scale, 2.0 * scale]], [[0.25 * scale, 1.5 * scale]])
        weights.append(weights_at(balancer, [0.2 * scale, 1.0 * scale]))
    torch.testing.assert_close(weights[0], weights[1])
    if method != "equal":
        assert weights[0][0] != weights[0][1]


@pytest.mark.parametrize("method", METHODS)
def test_losses_are_returned_as_they_were_before_the_step(method):
    balancer, model = trained(method)
    before = model().detach()
    returned = balancer.step(model, model, sgd(model, balancer, lr=0.02))
    torch.testing.assert_close(returned, before)
    assert not returned.requires_grad
    assert not torch.equal(model().detach(), before)


@pytest.mark.parametrize("method", METHODS)
def test_gradients_of_the_step_before_do_not_add_up(method):
    balancer, model = trained(method)
    start, state = model.point.detach().clone(), copy.deepcopy(balancer.state_dict())
    optimizer, ends = sgd(model, balancer, lr=0.02), []
    for _ in range(2):
        balancer.load_state_dict(state)
        with torch.no_grad():
            model.point.copy_(start)
        torch.manual_seed(1)
        balancer.step(model, model, optimizer)
        ends.append(model.point.detach().clone())
    torch.testing.assert_close(ends[1], ends[0])
    assert not torch.equal(ends[0], start)


@pytest.mark.parametrize("interrupted", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("method", METHODS)
def test_state_dict_holds_all_that_is_needed_to_go_on(method, interrupted, tmp_path):
    def continued(balancer, model, optimizer, first, last):
        points = []
        for step in range(first, last):
            balancer.step(model, model, optimizer)
            points.append(model.point.detach().clone())
            if step % 2:
                balancer.end_epoch()
        return points

    balancer, model = balancing.create(method, 3), Bowls()
    optimizer = sgd(model, balancer, lr=0.02)
    torch.manual_seed(1)
    uninterrupted = continued(balancer, model, optimizer, 0, 8)

    balancer, model = balancing.create(method, 3), Bowls()
    optimizer = sgd(model, balancer, lr=0.02)
    torch.manual_seed(1)
    continued(balancer, model, optimizer, 0, interrupted)
    # A checkpoint keeps the generator's state as well.
    torch.save([balancer.state_dict(), model.state_dict(), torch.get_rng_state()], tmp_path / "state.pt")
    # From here on, everything comes from the file.
    balancer, model = balancing.create(method, 3), Bowls()
    of_balancer, of_model, draws = torch.load(tmp_path / "state.pt", weights_only=True)
    balancer.load_state_dict(of_balancer)
    model.load_state_dict(of_model)
    torch.set_rng_state(draws)
    resumed = continued(balancer, model, sgd(model, balancer, lr=0.02), interrupted, 8)
    assert len(resumed) == 8 - interrupted
    for point, expected in zip(resumed, uninterrupted[interrupted:], strict=True):
        assert torch.equal(point, expected)


def test_methods_with_a_memory_do_change_their_weights():
    # Or else the test above would prove nothing.
    for method in (method for method in WEIGHTED if method not in RANDOM):
        balancer, model = trained(method)
        fresh = balancing.create(method, 3)
        optimizer = sgd(model, balancer, lr=0.0)
        balancer.step(model, model, optimizer)
        fresh.step(model, model, optimizer)
        remembers = not torch.equal(balancer.weights, fresh.weights)
        assert remembers == (method in REMEMBER), method


@pytest.mark.parametrize("method", METHODS)
def test_no_weights_before_the_first_step(method):
    assert balancing.create(method, 2).weights is None


ALL, NONE = [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "epochs",
    [
        [[[1.0, 0.0, 1.0], ALL, [0.0, 1.0, 1.0], NONE, ALL]],
        [[NONE, ALL], [NONE, NONE], [ALL], [ALL]],
        [[[0.0, 1.0, 1.0]], [[0.0, 1.0, 1.0]], [ALL], [ALL]],
    ],
)
@pytest.mark.parametrize("method", METHODS)
def test_loss_of_zero_as_of_a_batch_without_targets(method, epochs):
    balancer, model = balancing.create(method, 3), Bowls()
    optimizer = sgd(model, balancer, lr=0.1)
    for epoch in epochs:
        for there in epoch:
            balancer.step(lambda there=there: model() * torch.tensor(there), model, optimizer)
            assert model.point.isfinite().all()
            assert balancer.weights is None or balancer.weights.isfinite().all()
            assert all(tensor.isfinite().all() for tensor in balancer.parameters())
        balancer.end_epoch()


# What a user can get wrong


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_tasks", [0, -1, "2"])
def test_wrong_number_of_tasks(method, n_tasks):
    with pytest.raises(InputError) as error:
        balancing.create(method, n_tasks)
    assert_one_line(error)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_losses", [1, 2, 4])
def test_wrong_number_of_losses(method, n_losses):
    balancer, model = balancing.create(method, 3), Bowls(n_losses)
    with pytest.raises(InputError, match=rf"one loss a task, a tensor \(3,\), got \({n_losses},\)") as error:
        balancer.step(model, model, sgd(model, balancer, lr=0.1))
    assert_one_line(error)
    assert torch.equal(model.point, Bowls().point)


def test_list_instead_of_losses():
    balancer, model = balancing.create("equal", 3), Bowls()
    with pytest.raises(InputError, match="got a list"):
        balancer.step(lambda: list(model()), model, sgd(model, balancer, lr=0.1))


def test_scalar_instead_of_losses():
    balancer, model = balancing.create("equal", 3), Bowls()
    with pytest.raises(InputError, match=r"got \(\)"):
        balancer.step(lambda: model().sum(), model, sgd(model, balancer, lr=0.1))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("nonesuch", "unknown balancing method 'nonesuch'; there are: adaptive, .*, dwa, equal"),
        ("Equal", "unknown balancing method 'Equal'"),
        ("equal(temperature=2)", "equal.*unexpected keyword argument 'temperature'"),
        ("dwa(temperature=0)", "dwa.*temperature.*positive"),
        ("dwa(temperature=hot)", r"dwa\(temperature=hot\): temperature must be a finite number, got 'hot'"),
        ("adaptive(every=hour)", "every must be 'step' or 'epoch', got 'hour'"),
        ("adaptive(every=epoch, detach=false)", "detach=False needs every='step'"),
        ("uncertainty(kinds=ranking)", "kinds must be 'classification' or 'regression'.*'ranking'"),
        ("uncertainty(kinds=[regression])", "one or 2 of them"),
        ("revised_uncertainty(initial=0)", "initial must be positive, got 0"),
        ("", "'' is not a method"),
        ("dwa(", "is not a method"),
        ("dwa(2.0)", "is not a method"),
        ("dwa(temperature=)(", "is not a method"),
        ("dwa(temperature={)", "is not a method"),
        ("dwa(temperature=[1)", "is not a method"),
        ("two words", "is not a method"),
    ],
)
def test_wrong_method_or_option(method, message):
    with pytest.raises(InputError, match=message) as error:
        balancing.create(method, 2)
    assert_one_line(error)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("dwa(temperature=.nan)", "temperature must be a finite number, got nan"),
        ("cagrad(c=.inf)", "c must be a finite number, got inf"),
        ("famo(weight_learning_rate=.nan)", "weight_learning_rate must be a finite number"),
        ("famo(min_losses=[0, -.inf])", "min_losses must be a finite number, or a list of finite numbers"),
        ("upgrad(reg_eps=.nan)", "reg_eps must be a finite number"),
        ("upgrad(gradients=1)", "gradients must be 'shared' or 'representation', got 1"),
        ("pareto_mtl(initial_steps=.inf)", "initial_steps must be a whole number, got inf"),
        ("pareto_mtl(preferences=true)", "a whole number, or a list of lists of finite numbers, got True"),
        ("nash_mtl(update_weights_every=1.5)", "update_weights_every must be a whole number, got 1.5"),
        ("gradient_cosine(main=true)", "main must be a whole number, got True"),
        ("adaptive(detach=perhaps)", "detach must be true or false, got 'perhaps'"),
        ("single_step(second_order=maybe)", "second_order must be true or false, got 'maybe'"),
        ("single_step(alpha=small)", "alpha must be a finite number, or null, got 'small'"),
        ("gradnorm(layer=2)", "layer must be text, or null, got 2"),
    ],
)
def test_option_of_another_type(method, message):
    with pytest.raises(InputError, match=rf"^{re.escape(method)}: .*{message}") as error:
        balancing.create(method, 2)
    assert_one_line(error)


def test_options_of_the_declared_types():
    whole = balancing.create("stch(mu=1, preferences=[1, 2.5], reference=0)", 2)
    torch.testing.assert_close(whole.preferences, torch.tensor([1, 2.5]) / 3.5)
    assert balancing.create("stch", 2, preferences=(1, 3)).preferences.tolist() == [0.25, 0.75]
    assert balancing.create("single_step(alpha=null)", 2).alpha is None
    assert balancing.create("mgda(gradients=representation)", 2).gradients == "representation"
    assert balancing.create("pareto_mtl(preferences=[[1, 0], [0, 1]], preference=[0, 1])", 2).preference.tolist() == [
        0,
        1,
    ]


def test_option_given_twice():
    with pytest.raises(InputError, match="temperature"):
        balancing.create("dwa(temperature=2.0)", 2, temperature=1.0)


# Names and options


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("dwa", "dwa", {}),
        ("dwa()", "dwa", {}),
        (" dwa ( temperature = 1.5 ) ", "dwa", {"temperature": 1.5}),
        ("adaptive(every=epoch, detach=true)", "adaptive", {"every": "epoch", "detach": True}),
        ("adaptive(every: epoch, detach: true)", "adaptive", {"every": "epoch", "detach": True}),
        ("m(a=1, b=null, c='true')", "m", {"a": 1, "b": None, "c": "true"}),
        (
            "m(a=1e-3, b=-2.5E+4, c=[.5e1, 1e, e1], d='1e-3')",
            "m",
            {"a": 0.001, "b": -25000.0, "c": [5.0, "1e", "e1"], "d": "1e-3"},
        ),
        (
            "uncertainty(kinds=[classification, regression])",
            "uncertainty",
            {"kinds": ["classification", "regression"]},
        ),
    ],
)
def test_parse(text, name, options):
    assert balancing.parse(text) == (name, options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"detach": False},
        {"every": "epoch", "detach": True},
        {"temperature": 2.0},
        {"temperature": 1e-05},
        {"temperature": "1e-05"},
        {"a": 1, "b": None, "c": "1", "d": "true", "e": "null", "f": ""},
        {"kinds": ["classification", "regression"]},
        {"a": "x, y (z)", "b": "{", "c": ": ", "d": "#"},
        {"long": "word " * 40},
    ],
)
def test_parse_and_label_are_inverse(options):
    written = balancing.label("method", options)
    assert balancing.parse(written) == ("method", options)
    assert balancing.label(*balancing.parse(written)) == written


def test_label_is_the_same_however_options_are_ordered():
    assert balancing.label("m", {"b": 1, "a": 2}) == balancing.label("m", {"a": 2, "b": 1}) == "m(a=2, b=1)"
    assert balancing.label(*balancing.parse("adaptive( detach = no )")) == "adaptive(detach=false)"


def test_options_reach_the_method():
    assert balancing.create("adaptive(detach=false)", 2).detach is False
    assert balancing.create("adaptive", 2, every="epoch").every == "epoch"
    assert balancing.create("revised_uncertainty(initial=0.5)", 2).c.tolist() == [0.5, 0.5]


def test_names_are_sorted_and_complete():
    assert balancing.names() == sorted(balancing.names())
    assert {"adaptive", "dwa", "equal", "revised_uncertainty", "uncertainty"} <= set(balancing.names())


@pytest.fixture
def registry(monkeypatch):
    """The registry, put back after the test."""
    from mtlutils.balancing import registry

    monkeypatch.setattr(registry, "_METHODS", dict(registry._METHODS))


def test_method_that_says_nothing_is_told_what_it_lacks():
    class Nothing(Balancer):
        pass

    with pytest.raises(NotImplementedError, match="Nothing weighs no losses"):
        Nothing(2).combine(torch.ones(2))


class First(Balancer):
    """A method from outside: the first task counts ``factor`` times."""

    def __init__(self, n_tasks, factor=2.0):
        super().__init__(n_tasks)
        self.factor = factor

    def weigh(self, losses):
        return torch.tensor([self.factor] + [1.0] * (self.n_tasks - 1))


@pytest.mark.parametrize("method", [First, f"{__name__}:First"])
def test_method_from_outside(registry, method):
    balancing.register("first", method)
    assert "first" in balancing.names()
    assert weights_at(balancing.create("first(factor=3.0)", 2), [1.0, 1.0]).tolist() == [3, 1]


class Unresolved(First):
    """Another, one of whose types is known to a type checker alone."""

    def __init__(self, n_tasks, factor: "Nonesuch" = 2.0):  # noqa: F821
        super().__init__(n_tasks, factor)


@pytest.mark.parametrize("method", [First, Unresolved, lambda n_tasks, factor: First(n_tasks, factor)])
def test_options_of_a_method_from_outside_that_declares_no_types_may_be_anything(registry, method):
    balancing.register("first", method)
    assert balancing.create("first", 2, factor=(3, "x")).factor == (3, "x")


@pytest.mark.parametrize("name", ["dwa", "equal"])
def test_taken_name(registry, name):
    with pytest.raises(InputError, match=f"another method called '{name}'"):
        balancing.register(name, First)
    assert not isinstance(balancing.create(name, 2), First)


@pytest.mark.parametrize("name", ["", "First", "1st", "my method", "a-b", "a(b=c)"])
def test_malformed_name(registry, name):
    with pytest.raises(InputError, match="lower-case identifier"):
        balancing.register(name, First)
    assert name not in balancing.names()


def test_registering_the_same_again_is_no_error(registry):
    balancing.register("first", First)
    balancing.register("first", First)


def test_what_is_known_of_the_methods():
    listed = balancing.methods()
    assert [method.name for method in listed] == balancing.names()
    assert {method.family for method in listed} == {"losses", "gradients", "updates"}
    bibliography = (ROOT / "book" / "references.bib").read_text()
    page = (ROOT / "book" / "methods.md").read_text()
    for method in listed:
        assert f"{{{method.paper},\n" in bibliography, method
        assert f"(`{method.name}`; {{cite:t}}`{method.paper}`" in page, method
        assert method.passes in get_args(Passes)[1:], method
        assert method.tested, method
        assert issubclass(pkgutil.resolve_name(method.where), Balancer)


def test_what_is_told_of_a_method_from_outside(registry):
    balancing.register("first", First, family="losses", paper="someone2020", passes="none", tested="a sum by hand")
    balancing.register("second", f"{__name__}:First")
    first, second = (method for method in balancing.methods() if method.name in ("first", "second"))
    where = f"{__name__}:First"
    assert first == balancing.Method("first", "losses", "someone2020", "none", where, "a sum by hand")
    assert second == balancing.Method("second", "", "", "", where)


def test_listing_the_methods_needs_no_torch():
    code = (
        "import sys, mtlutils.balancing as b; b.names(); b.methods(); b.label(*b.parse('dwa(temperature=1.0)')); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# What ties one method to another


def test_adaptive_weights_are_equal_where_losses_are():
    for method in ("adaptive", "adaptive(detach=false)"):
        torch.testing.assert_close(weights_at(balancing.create(method, 3), [0.7, 0.7, 0.7]), torch.ones(3))


@pytest.mark.parametrize("method", [*SUM_TO_N, "adaptive(detach=false)"])
def test_one_task_alone_has_weight_1(method):
    balancer = balancing.create(method, 1)
    give(balancer, [[2.0]], [[0.5]])
    torch.testing.assert_close(weights_at(balancer, [0.3]), torch.ones(1))


def test_training_on_one_task_is_the_same_by_every_method_of_weights_that_sum_to_n():
    points = [trained(method, n_tasks=1)[1].point for method in SUM_TO_N]
    assert all(torch.allclose(point, points[0]) for point in points)


@pytest.mark.parametrize("detach", [True, False])
def test_adaptive_total_is_n_q_over_s(detach):
    losses = torch.tensor([0.4, 1.0, 2.5])
    total = balancing.create("adaptive", 3, detach=detach).combine(losses)
    torch.testing.assert_close(total, 3 * losses.square().sum() / losses.sum())


def test_equal_total_is_the_sum():
    assert balancing.create("equal", 2).combine(torch.tensor([0.5, 2.0])).item() == 2.5


def test_adaptive_each_step_is_adaptive_each_epoch_on_the_losses_of_the_epoch_before():
    by_epoch = balancing.create("adaptive(every=epoch)", 2)
    give(by_epoch, [[0.3, 0.9]])
    expected = weights_at(balancing.create("adaptive", 2), [0.3, 0.9])
    torch.testing.assert_close(weights_at(by_epoch, [5.0, 0.1]), expected)


def test_dwa_and_adaptive_each_epoch_start_as_equal_weights():
    dwa, adaptive = balancing.create("dwa", 2), balancing.create("adaptive(every=epoch)", 2)
    for balancer, epochs in ((dwa, 2), (adaptive, 1)):
        for _ in range(epochs):
            assert weights_at(balancer, [1.0, 3.0]).tolist() == [1, 1]
            assert weights_at(balancer, [0.1, 2.0]).tolist() == [1, 1]
            balancer.end_epoch()


def test_dwa_at_a_high_temperature_is_equal_weighting():
    balancer = balancing.create("dwa(temperature=1000000.0)", 2)
    give(balancer, [[1.0, 1.0]], [[0.1, 5.0]])
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), torch.ones(2))


def test_uncertainty_at_its_start_is_equal_weighting_for_classification_and_half_of_it_for_regression():
    assert weights_at(balancing.create("uncertainty", 2), [0.5, 3.0]).tolist() == [1, 1]
    assert weights_at(balancing.create("uncertainty(kinds=regression)", 2), [0.5, 3.0]).tolist() == [0.5, 0.5]
    mixed = balancing.create("uncertainty(kinds=[regression, classification])", 2)
    assert weights_at(mixed, [0.5, 3.0]).tolist() == [0.5, 1]


# Values computed by hand


def test_adaptive_weights():
    # S = 2, n = 2: w = 2 L / 2 = L
    torch.testing.assert_close(weights_at(balancing.create("adaptive", 2), [0.5, 1.5]), torch.tensor([0.5, 1.5]))
    # S = 4, n = 3: w = 3 L / 4
    weights = weights_at(balancing.create("adaptive", 3), [1.0, 2.0, 1.0])
    torch.testing.assert_close(weights, torch.tensor([0.75, 1.5, 0.75]))


@pytest.mark.parametrize("method", ["adaptive", "adaptive(detach=false)", "adaptive(every=epoch)"])
def test_adaptive_weights_are_1_where_all_losses_are_0(method):
    balancer = balancing.create(method, 2)
    give(balancer, [[0.0, 0.0]])
    assert weights_at(balancer, [0.0, 0.0]).tolist() == [1, 1]


def test_adaptive_not_detached_unlearns_an_easy_task():
    # S = 1.4, Q = 0.16 + 1 = 1.16, n = 2, S^2 = 1.96
    # w_1 = 2 (2 * 0.4 * 1.4 - 1.16) / 1.96 = -0.08 / 1.96,  w_2 = 2 (2 * 1.0 * 1.4 - 1.16) / 1.96 = 3.28 / 1.96
    balancer, model = balancing.create("adaptive(detach=false)", 2), Given([0.4, 1.0])
    balancer.step(model, model, sgd(model, balancer, lr=0.5))
    torch.testing.assert_close(balancer.weights, torch.tensor([-0.08 / 1.96, 3.28 / 1.96]))
    # ... and the step against the gradient raises the easy task's loss
    torch.testing.assert_close(model().detach(), torch.tensor([0.4 + 0.04 / 1.96, 1.0 - 1.64 / 1.96]))


def test_adaptive_weights_of_an_epoch():
    balancer = balancing.create("adaptive(every=epoch)", 2)
    assert weights_at(balancer, [1.0, 3.0]).tolist() == [1, 1]
    assert weights_at(balancer, [2.0, 3.0]).tolist() == [1, 1]
    balancer.end_epoch()
    # means 1.5 and 3, S = 4.5, n = 2: w = 2 * (1.5, 3) / 4.5, all through the epoch
    torch.testing.assert_close(weights_at(balancer, [9.0, 1.0]), torch.tensor([2 / 3, 4 / 3]))
    torch.testing.assert_close(weights_at(balancer, [7.0, 3.0]), torch.tensor([2 / 3, 4 / 3]))
    balancer.end_epoch()
    # means 8 and 2 of this epoch alone
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), torch.tensor([1.6, 0.4]))


def test_dwa_weights_at_temperature_2():
    balancer = balancing.create("dwa", 2)
    # mean losses: (2, 1), then (1, 0.9): r = (1/2, 9/10), r / 2 = (0.25, 0.45)
    give(balancer, [[3.0, 0.5], [1.0, 1.5]], [[0.5, 0.8], [1.5, 1.0]])
    a, b = math.exp(0.25), math.exp(0.45)
    expected = torch.tensor([2 * a / (a + b), 2 * b / (a + b)])
    torch.testing.assert_close(weights_at(balancer, [4.0, 4.0]), expected)
    # the losses of the epoch under way do not count before it ends
    torch.testing.assert_close(weights_at(balancer, [0.1, 9.0]), expected)
    balancer.end_epoch()
    # now (1, 0.9), then (2.05, 6.5)
    a, b = math.exp(2.05 / 2), math.exp(6.5 / 0.9 / 2)
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), torch.tensor([2 * a / (a + b), 2 * b / (a + b)]))


def test_dwa_a_mean_of_zero_has_a_rate_of_1():
    balancer = balancing.create("dwa", 3)
    give(balancer, [[0.0, 0.0, 2.0]], [[3.0, 0.0, 1.0]])
    a, b = math.exp(0.5), math.exp(0.25)  # r = (3 / 0, 0 / 0, 1 / 2), the first two counting as 1
    torch.testing.assert_close(weights_at(balancer, [0.0, 1.0, 1.0]), 3 * torch.tensor([a, a, b]) / (2 * a + b))
    give(balancer, [[1.5, 0.0, 1.0]])
    # now (3, 0, 1), which is kept as it was, then (0.75, 0.5, 1): r = (1 / 4, 0.5 / 0, 1)
    a, b = math.exp(0.125), math.exp(0.5)
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0, 1.0]), 3 * torch.tensor([a, b, b]) / (a + 2 * b))


def test_dwa_temperature():
    balancer = balancing.create("dwa(temperature=0.5)", 2)
    give(balancer, [[2.0, 1.0]], [[1.0, 0.75]])
    a, b = math.exp(1.0), math.exp(1.5)  # r = (0.5, 0.75)
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), torch.tensor([2 * a / (a + b), 2 * b / (a + b)]))


@pytest.mark.parametrize(("kinds", "c"), [("classification", 1.0), ("regression", 0.5)])
def test_uncertainty_learns_its_log_variances(kinds, c):
    # total = sum c e^-s L + s / 2; at s = 0 its derivative is -c L + 1/2
    balancer, model = balancing.create("uncertainty", 2, kinds=kinds), Given([0.25, 3.0])
    balancer.step(model, model, sgd(model, balancer, lr=0.1))
    (s,) = balancer.parameters()
    torch.testing.assert_close(s.detach(), torch.tensor([-0.1 * (0.5 - c * 0.25), -0.1 * (0.5 - c * 3.0)]))
    assert balancer.weights.tolist() == [c, c]
    # the harder task is less certain, and weighs less from now on
    expected = c * torch.exp(-s.detach())
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), expected)
    assert expected[1] < expected[0]


def test_revised_uncertainty_learns_its_deviations():
    # total = sum L / 2 c^2 + ln(1 + c^2); its derivative is -L / c^3 + 2 c / (1 + c^2): at c = 1, 1 - L
    balancer, model = balancing.create("revised_uncertainty", 2), Given([0.25, 3.0])
    balancer.step(model, model, sgd(model, balancer, lr=0.1))
    assert balancer.weights.tolist() == [0.5, 0.5]
    torch.testing.assert_close(balancer.c.detach(), torch.tensor([1 - 0.1 * 0.75, 1 + 0.1 * 2.0]))
    weights = weights_at(balancer, [1.0, 1.0])
    torch.testing.assert_close(weights, torch.tensor([1 / (2 * 0.925**2), 1 / (2 * 1.2**2)]))


def test_revised_uncertainty_from_another_start():
    # c = 2: weight 1/8, derivative of the total -L / 8 + 4 / 5
    balancer, model = balancing.create("revised_uncertainty(initial=2.0)", 1), Given([4.0])
    balancer.step(model, model, sgd(model, balancer, lr=1.0))
    assert balancer.weights.tolist() == [0.125]
    torch.testing.assert_close(balancer.c.detach(), torch.tensor([2 - (-0.5 + 0.8)]))


def draws(method, n_tasks, n=20_000):
    torch.manual_seed(0)
    balancer = balancing.create(method, n_tasks)
    return torch.stack([balancer.weigh(torch.ones(n_tasks)) for _ in range(n)])


def test_rlw_weights_are_the_softmax_of_the_draws():
    torch.manual_seed(3)
    z = torch.randn(3)
    torch.manual_seed(3)
    torch.testing.assert_close(weights_at(balancing.create("rlw", 3), [1.0, 1.0, 1.0]), 3 * z.exp() / z.exp().sum())
    torch.manual_seed(3)
    once = weights_at(balancing.create("rlw", 3, total="one"), [1.0, 1.0, 1.0])
    torch.testing.assert_close(once, z.exp() / z.exp().sum())


# Of T = 2 weights that sum to 2, the variance of the first. A normal one is 2 sigmoid(N(0, 2)), by quadrature 0.2737;
# a uniform one 2 sigmoid(U - U'): 0.0391; a Dirichlet one 2 U: 1/3; the coins give 0, 1, 2 a third each: 2/3; one alone
# gives 0 or 2: 1.
@pytest.mark.parametrize(
    ("distribution", "variance"),
    [("normal", 0.2737), ("uniform", 0.0391), ("dirichlet", 1 / 3), ("bernoulli", 2 / 3), ("constrained_bernoulli", 1)],
)
def test_rlw_distributions(distribution, variance):
    weights = draws(f"rlw(distribution={distribution})", 2)
    torch.testing.assert_close(weights.sum(dim=1), torch.full((len(weights),), 2.0))
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.mean(dim=0), torch.ones(2), atol=0.03, rtol=0)
    assert weights[:, 0].var().item() == pytest.approx(variance, rel=0.05)


def test_rlw_bernoulli_and_constrained_bernoulli_choose_tasks():
    torch.testing.assert_close(
        draws("rlw(distribution=constrained_bernoulli)", 3, 100).max(dim=1).values, torch.full((100,), 3.0)
    )
    several = draws("rlw(distribution=bernoulli)", 3, 1000)
    chosen = several > 0
    torch.testing.assert_close(several, 3 * chosen / chosen.sum(dim=1, keepdim=True))
    assert {1, 2, 3} == set(chosen.sum(dim=1).tolist())


def test_imtl_l_learns_its_scales():
    # total = sum e^s L - s; at s = 0 its derivative is L - 1
    balancer, model = balancing.create("imtl_l", 2), Given([0.25, 3.0])
    balancer.step(model, model, sgd(model, balancer, lr=0.1))
    assert balancer.weights.tolist() == [1, 1]
    torch.testing.assert_close(weights_at(balancer, [1.0, 1.0]), torch.tensor([0.075, -0.2]).exp())


def test_geometric_mean_weights():
    # F = √(0.5 · 8) = 2, w = F / 2L
    torch.testing.assert_close(weights_at(balancing.create("geometric_mean", 2), [0.5, 8.0]), torch.tensor([2, 0.125]))


def test_geometric_mean_gives_a_loss_of_zero_no_weight():
    # F = √(ε · 4) = 2 · 10⁻⁴, w = (0, F / 2L)
    weights = weights_at(balancing.create("geometric_mean", 2), [0.0, 4.0])
    torch.testing.assert_close(weights, torch.tensor([0, 2.5e-5]))


def test_stch_weights():
    # p (L - z) / μ = (1/4 · 2, 3/4 · 1) / 0.5 = (1, 1.5)
    balancer = balancing.create("stch(mu=0.5, preferences=[1, 3], reference=[1.0, 0.5])", 2)
    a, b = math.exp(1.0), math.exp(1.5)
    losses = [3.0, 1.5]
    torch.testing.assert_close(weights_at(balancer, losses), torch.tensor([a / 4, 3 * b / 4]) / (a + b))
    assert balancer.combine(torch.tensor(losses)).item() == pytest.approx(0.5 * math.log(a + b))


def test_stch_with_a_small_mu_is_the_largest_loss_alone():
    weights = weights_at(balancing.create("stch(mu=0.001)", 3), [0.5, 0.9, 0.8])
    torch.testing.assert_close(weights, torch.tensor([0, 1 / 3, 0]))


def test_famo_learns_from_what_the_step_did():
    # ξ = 0, so z = (1/2, 1/2), and w is in proportion to 1 / L: L = (1, 4), w = (0.8, 0.2).
    balancer, model = balancing.create("famo(weight_decay=0)", 2), Given([1.0, 4.0])
    optimizer = sgd(model, balancer, lr=0.5)
    assert balancer.step(model, model, optimizer).tolist() == [1, 4]
    torch.testing.assert_close(balancer.weights, torch.tensor([0.8, 0.2]))
    # Now L = (0.6, 3.9): the logarithm of the first fell more, and Adam's first step is its rate: ξ = (-, +) 0.025.
    a, b = math.exp(-0.025) / 0.6, math.exp(0.025) / 3.9
    balancer.step(model, model, optimizer)
    torch.testing.assert_close(balancer.weights, torch.tensor([a / (a + b), b / (a + b)]))


def test_famo_min_losses():
    weights = weights_at(balancing.create("famo(min_losses=[0.5, 2.0])", 2), [1.0, 4.0])  # 1 / (0.5, 2)
    torch.testing.assert_close(weights, torch.tensor([0.8, 0.2]))


def test_famo_second_pass_leaves_running_statistics():
    norm = nn.BatchNorm1d(2)
    model = Given([1.0, 2.0])
    model.norm = norm
    balancer = balancing.create("famo", 2)
    inputs = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    balancer.step(lambda: model() + norm(inputs).square().mean(dim=0), model, sgd(model, balancer, lr=0.1))
    torch.testing.assert_close(norm.running_mean, 0.1 * inputs.mean(dim=0))
    assert norm.num_batches_tracked == 1


def test_slaw_weights():
    balancer = balancing.create("slaw(beta=0.5)", 2)
    assert weights_at(balancer, [1.0, 5.0]).tolist() == [1, 1]
    # Shares (1/3, 2/3): a = (1 + 2 · 9) / 3, b = (1 + 2 · 3) / 3, a - b² = 19/3 - 49/9 = 8/9; the second: losses 5, 4:
    # (25 + 2 · 16) / 3 - (13 / 3)² = 2/9. s = (2, 1) √2 / 3, w = 2 (1/2, 1) / 1.5.
    torch.testing.assert_close(weights_at(balancer, [3.0, 4.0]), torch.tensor([2 / 3, 4 / 3]))
    # Shares (1, 2, 4) / 7: losses (1, 3, 2): 35/7 - (15/7)² = 20/49; (5, 4, 9): 381/7 - (49/7)² = 38/7 = 266/49.
    inverse = torch.tensor([20.0, 266.0]).rsqrt()
    torch.testing.assert_close(weights_at(balancer, [2.0, 9.0]), 2 * inverse / inverse.sum())


@pytest.mark.parametrize(("start", "first"), [("first", [1.0, 1.0]), ("zero", [5 / 3, 1 / 3])])
def test_slaw_from_other_starts(start, first):
    balancer = balancing.create(f"slaw(beta=0.9, start={start})", 2)
    losses = [[1.0, 5.0], [3.0, 4.0], [2.0, 9.0]]
    weights = [weights_at(balancer, each) for each in losses]
    torch.testing.assert_close(weights[0], torch.tensor(first))
    squares, means = torch.zeros(2), torch.zeros(2)
    if start == "first":
        squares, means = torch.tensor(losses[0]).square(), torch.tensor(losses[0])
    for each in torch.tensor(losses[1:] if start == "first" else losses):
        squares, means = 0.9 * squares + 0.1 * each.square(), 0.9 * means + 0.1 * each
    inverse = (squares - means.square()).rsqrt()
    torch.testing.assert_close(weights[2], 2 * inverse / inverse.sum())


def test_slaw_as_published_begins_with_plain_means():
    balancer = balancing.create("slaw(beta=0.75, start=published)", 2)
    losses = torch.tensor([[1.0, 5.0], [3.0, 4.0], [2.0, 9.0], [4.0, 7.0], [6.0, 2.0]])
    weights = [weights_at(balancer, each) for each in losses.tolist()]
    for k in (2, 3, 4):  # 4 = 1 / (1 - β) steps
        inverse = 1 / losses[:k].std(dim=0, correction=0)
        torch.testing.assert_close(weights[k - 1], 2 * inverse / inverse.sum())
    squares = 0.75 * losses[:4].square().mean(dim=0) + 0.25 * losses[4].square()
    means = 0.75 * losses[:4].mean(dim=0) + 0.25 * losses[4]
    inverse = (squares - means.square()).rsqrt()
    torch.testing.assert_close(weights[4], 2 * inverse / inverse.sum())


def test_slaw_sees_small_changes_of_large_losses():
    balancer = balancing.create("slaw", 2)
    for k in range(50):
        weights = weights_at(balancer, [1000 + 0.01 * (-1) ** k, 1000 + 0.02 * (-1) ** k])
    torch.testing.assert_close(weights, torch.tensor([4 / 3, 2 / 3]), rtol=1e-2, atol=0)


def test_logse_weights():
    torch.testing.assert_close(weights_at(balancing.create("logse", 2), [0.5, 4.0]), torch.tensor([2.0, 0.25]))
    torch.testing.assert_close(weights_at(balancing.create("logse(factor=0.5)", 1), [0.5]), torch.tensor([1.0]))
    exponentials = balancing.create("logse(form=log_of_sum_of_exponentials)", 2)
    torch.testing.assert_close(weights_at(exponentials, [1.0, 2.0]), torch.tensor([1.0, 2.0]).softmax(dim=0))


def test_logse_is_where_uncertainty_of_regression_ends():
    losses = torch.tensor([0.3, 2.0])
    uncertainty, logse = balancing.create("uncertainty(kinds=regression)", 2), balancing.create("logse(factor=0.5)", 2)
    (s,) = uncertainty.parameters()
    s.data = losses.log()
    torch.testing.assert_close(weights_at(uncertainty, losses.tolist()), weights_at(logse, losses.tolist()))
    assert uncertainty.combine(losses).item() == pytest.approx(logse.combine(losses).item() + 1)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("stch(mu=0)", "mu.*positive"),
        ("stch(mu=.nan)", "mu must be a finite number"),
        ("revised_uncertainty(initial=.nan)", "initial must be a finite number"),
        ("stch(preferences=[1])", "preferences must be positive, 2 of them"),
        ("stch(preferences=[1, 0])", "preferences must be positive, 2 of them"),
        ("stch(reference=[1, 2, 3])", "reference must be one number or 2"),
        ("famo(weight_learning_rate=-1)", "lr"),
        ("famo(min_losses=[1, 2, 3])", "min_losses"),
        ("slaw(beta=1)", "beta must be at least 0 and below 1, got 1"),
        ("slaw(start=late)", "start must be 'corrected', 'published', 'first' or 'zero', got 'late'"),
        ("slaw(epsilon=0)", "epsilon must be positive"),
        ("logse(form=product)", "form must be 'sum_of_logs' or .*'product'"),
        ("logse(factor=0)", "factor must be positive"),
        ("logse(epsilon=-1)", "epsilon must not be negative"),
    ],
)
def test_wrong_options_of_loss_weighting(method, message):
    with pytest.raises(InputError, match=message) as error:
        balancing.create(method, 2)
    assert_one_line(error)


def test_equal_weights():
    assert isinstance(balancing.create("equal", 3), Equal)
    assert weights_at(balancing.create("equal", 3), [0.1, 20.0, 3.0]).tolist() == [1, 1, 1]


def assert_one_line(error):
    message = str(error.value)
    assert message
    assert "\n" not in message
