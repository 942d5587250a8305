"""The network of Fingers: its shapes, its parameters, and gradients that reach everything."""

import pytest
import torch
from torch.nn.functional import conv2d, linear, max_pool2d

from mtlutils.errors import InputError
from mtlutils.models import fingers_cnn

JOINT, SEVERAL = {"joint": 12}, {"count": 6, "hand": 2}
N_SHARED = (9 + 1) * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 64


def images(n, size=64):
    return torch.rand(n, 1, size, size, generator=torch.Generator().manual_seed(5))


def made(n_classes, **options):
    torch.manual_seed(0)
    return fingers_cnn(n_classes, **options)


def n_parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize("n_classes", [JOINT, SEVERAL, {"a": 6, "b": 2, "c": 3}])
@pytest.mark.parametrize("size", [16, 64, 128])
def test_outputs_have_their_tasks_names_and_shapes(n_classes, size):
    outputs = made(n_classes, size=size)(images(3, size))
    assert {task: tuple(output.shape) for task, output in outputs.items()} == {t: (3, n) for t, n in n_classes.items()}


@pytest.mark.parametrize("n_classes", [JOINT, SEVERAL])
def test_shared_and_task_parameters_are_all_parameters_each_once(n_classes):
    model = made(n_classes)
    parts = [{id(parameter) for parameter in part} for part in (model.shared_parameters(), model.task_parameters())]
    assert all(parts)
    assert not parts[0] & parts[1]
    assert parts[0] | parts[1] == {id(parameter) for parameter in model.parameters()}


@pytest.mark.parametrize("n_classes", [JOINT, SEVERAL])
def test_every_task_reaches_the_shared_parameters_and_its_own_head_alone(n_classes):
    model = made(n_classes)
    for task in n_classes:
        model.zero_grad()
        model(images(8))[task].square().sum().backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.shared_parameters())
        for other, head in model.heads.items():
            for parameter in head.parameters():
                assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == (other == task)


def test_numbers_of_parameters_are_close():
    joint, several = made(JOINT), made(SEVERAL)
    of_joint = (1024 + 1) * 256 + (256 + 1) * 128 + (128 + 1) * 12
    of_each = (1024 + 1) * 128 + (128 + 1) * 64
    assert n_parameters(joint.encoder) == n_parameters(several.encoder) == N_SHARED
    assert n_parameters(joint) == N_SHARED + of_joint
    assert n_parameters(several) == N_SHARED + 2 * of_each + (64 + 1) * (6 + 2)
    assert all(f" {n_parameters(model):,} " in fingers_cnn.__doc__ for model in (joint, several))
    assert abs(n_parameters(joint) / n_parameters(several) - 1) < 0.06


@pytest.mark.parametrize("n_classes", [{"count": 6}, JOINT])
def test_one_task_has_the_larger_head_whatever_it_is(n_classes):
    (head,) = made(n_classes).heads.values()
    assert [layer.out_features for layer in head[::2]] == [256, 128, *n_classes.values()]


def test_sizes_that_are_asked_for():
    options = {"channels": (2, 3, 4, 5), "joint_hidden": (9, 8), "hidden": (7, 6), "size": 32}
    joint, several = made(JOINT, **options), made(SEVERAL, **options)
    assert [layer.out_channels for layer in joint.encoder[::3][:4]] == [2, 3, 4, 5]
    assert [(layer.in_features, layer.out_features) for layer in joint.heads["joint"][::2]] == [
        (20, 9),
        (9, 8),
        (8, 12),
    ]
    for task, n in SEVERAL.items():
        assert [layer.out_features for layer in several.heads[task][::2]] == [7, 6, n]


@pytest.mark.parametrize("n_classes", [JOINT, SEVERAL])
def test_network_is_four_convolutions_and_three_layers_a_task(n_classes):
    # ReLU and then pooling; in the network it is the other way round.
    model, batch = made(n_classes), images(4)
    x, state = batch, list(model.encoder.parameters())
    for weight, bias in zip(state[::2], state[1::2], strict=True):
        x = max_pool2d(conv2d(x, weight, bias, padding=1).clamp(min=0), 2)
    assert x.shape == (4, 64, 4, 4)
    for task, output in model(batch).items():
        own = list(model.heads[task].parameters())
        hidden = linear(linear(x.flatten(1), *own[:2]).clamp(min=0), *own[2:4]).clamp(min=0)
        torch.testing.assert_close(output, linear(hidden, *own[4:]))


@pytest.mark.parametrize("size", [0, -16, 8, 65, 100])
def test_size_that_is_no_multiple_of_16(size):
    with pytest.raises(InputError, match=f"size must be a positive multiple of 16, .*; got {size}$"):
        fingers_cnn(JOINT, size=size)
