"""AdaShare: what tasks choose to run, in training, in evaluation and by penalty."""

import copy

import pytest
import torch
from torch import nn

from mtlutils.errors import InputError
from mtlutils.models import AdaShare

TASKS = ("a", "b", "c")


def batch():
    return torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(5))


EXAMPLE = (batch(),)


def heads():
    return {task: nn.Linear(6, 2) for task in TASKS}


def assert_same(outputs, expected):
    assert list(outputs) == list(expected)
    for task, output in outputs.items():
        torch.testing.assert_close(output, expected[task])


def deep():
    """Five stages, of which the second to the fourth keep the features' size."""
    blocks = [nn.Sequential(nn.Conv2d(n, 4, 3, padding=1), nn.Tanh()) for n in (1, 4, 4)]
    return nn.Sequential(*blocks, nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Linear(144, 6), nn.Tanh()))


def adashare(**options):
    torch.manual_seed(0)
    return AdaShare(deep, heads(), example=EXAMPLE, **options)


def test_blocks_are_the_stages_that_keep_the_shape_and_learn():
    assert adashare().blocks == [1, 2]
    assert adashare(stages=[3, 1]).blocks == [1, 3]
    with pytest.raises(InputError, match=r"stage 4 cannot be skipped, .* choose among \[1, 2, 3\]"):
        adashare(stages=[1, 4])
    with pytest.raises(InputError, match=r"no stage of the encoder keeps the shape"):
        AdaShare(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 6)), heads(), example=EXAMPLE)


def test_each_task_runs_the_blocks_that_it_chose():
    model, ran = adashare().eval(), []
    for task, logits in zip(TASKS, ([1.0, -1.0], [-1.0, -1.0], [0.0, 2.0]), strict=True):
        model.policies[task].logits.data.copy_(torch.tensor(logits))
    for i in (1, 2):
        model.encoder[i].register_forward_hook(lambda *_, i=i: ran.append(i))
    outputs = model(batch())
    assert ran == [1, 1, 2]
    first, one, two, relu, last = model.encoder
    x = first(batch())
    chosen = {"a": one(x), "b": x, "c": two(one(x))}
    assert_same(outputs, {task: model.heads[task](last(relu(each))) for task, each in chosen.items()})


@pytest.mark.parametrize("hard", [False, True])
def test_training_mixes_a_block_with_its_input_by_what_is_drawn(hard):
    model, drawn = adashare(hard=hard), []
    model.policies["b"].register_forward_hook(lambda *arguments: drawn.append(arguments[-1]))
    outputs = [model(batch(), tasks=["b"])["b"] for _ in range(20)]
    first, *blocks, relu, last = model.encoder
    for output, parts in zip(outputs, drawn, strict=True):
        x = first(batch())
        for part, block in zip(parts, blocks, strict=True):
            x = part * block(x) + (1 - part) * x
        torch.testing.assert_close(output, model.heads["b"](last(relu(x))))
    values = torch.stack(drawn)
    assert set(values.unique().tolist()) == {0, 1} if hard else ((values > 0) & (values < 1)).all()
    outputs[0].square().sum().backward()
    assert model.policies["b"].logits.grad.any()


def test_draws_follow_the_probability():
    policy = adashare(probability=0.8, hard=True).policies["a"]
    torch.manual_seed(1)
    rate = torch.stack([policy(torch.tensor(1.0), True) for _ in range(500)]).mean().item()
    assert rate == pytest.approx(0.8, abs=5 * (0.8 * 0.2 / 1000) ** 0.5)


def test_adashares_penalty_is_its_formula():
    model = adashare(sparsity=0.3, sharing=0.7)
    alphas = torch.tensor([[0.2, 0.9], [0.5, 0.6], [0.4, 0.1]])
    for task, each in zip(TASKS, alphas, strict=True):
        model.policies[task].logits.data.copy_(each.logit())
    # the first block has weight 1, the second of two 1/2
    different = (0.3 + 0.2 + 0.1) * 1 + (0.3 + 0.8 + 0.5) / 2
    torch.testing.assert_close(model.penalty(), 0.3 * alphas.log().sum() + 0.7 * different)


def test_the_penalty_makes_policies_sparse_and_alike():
    model = adashare(sparsity=0.5)
    model.penalty().backward()
    assert all((policy.logits.grad > 0).all() for policy in model.policies.values())
    assert adashare(sparsity=0.0, sharing=1.0).penalty() == 0


def test_a_curriculum_opens_the_last_blocks_first():
    model = adashare(blocks_per_epoch=1, temperature=4.0, decay=0.5)
    for policy in model.policies.values():
        nn.init.constant_(policy.logits, -5)
    (gradient,) = torch.autograd.grad(model.penalty(), model.policies["a"].logits)
    assert gradient.bool().tolist() == [False, True]
    ran = []
    for i in (1, 2):
        model.encoder[i].register_forward_hook(lambda *_, i=i: ran.append(i))
    model.eval()(batch(), tasks=["a"])
    assert ran == [1]
    for temperature in (2.0, 1.0):
        model.end_epoch()
        model(batch(), tasks=["a"])
        assert ran == [1]
        assert model.temperature == temperature
    other = adashare(blocks_per_epoch=1)
    other.load_state_dict(model.state_dict())
    assert (other.temperature, other.n_open) == (1.0, 2)


def test_retraining_starts_anew_with_the_policies_as_they_are():
    model = adashare()
    start = copy.deepcopy(model.state_dict())
    for parameter in model.parameters():
        parameter.data += 1
    model.policies["b"].logits.data.fill_(-1)
    model.retrain(start)
    tensors = {name: value for name, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    for name, value in tensors.items():
        assert torch.equal(value, start[name]) == name.startswith(("encoder.", "heads.", "temperature"))
    assert model.policies["a"].logits.tolist() == [1, 1]
    assert model.penalty() is None
    # what training computes is what evaluation does, at every draw
    outputs = model.train()(batch())
    assert_same(outputs, model.eval()(batch()))
    outputs["b"].sum().backward()
    blocks = [model.encoder[i] for i in model.blocks]
    assert all(parameter.grad is None for block in blocks for parameter in block.parameters())
    assert all(policy.logits.grad is None for policy in model.policies.values())
    other = adashare()
    other.load_state_dict(model.state_dict())
    assert other.penalty() is None
    assert_same(other.train()(batch()), outputs)


def test_used_parameters_are_those_that_reach_an_output():
    model = adashare()
    for policy in model.policies.values():
        policy.logits.data.copy_(torch.tensor([-1.0, 1.0]))
    model.policies["c"].logits.data.fill_(-1)
    sum(output.sum() for output in model.eval()(batch()).values()).backward()
    reached = {id(parameter) for parameter in model.parameters() if parameter.grad is not None}
    assert {id(parameter) for parameter in model.used_parameters()} == reached
    assert not reached & {id(parameter) for parameter in model.encoder[1].parameters()}
    # a block without a policy yet is run by all
    early = adashare(blocks_per_epoch=1)
    for policy in early.policies.values():
        policy.logits.data.fill_(-1)
    used = {id(parameter) for parameter in early.used_parameters()}
    assert [all(id(each) in used for each in early.encoder[i].parameters()) for i in early.blocks] == [True, False]


@pytest.mark.parametrize(
    "options", [{"probability": 0}, {"probability": 1}, {"temperature": 0}, {"decay": 1.1}, {"blocks_per_epoch": 0}]
)
def test_adashare_out_of_range(options):
    with pytest.raises(InputError, match=r"must be"):
        adashare(**options)
