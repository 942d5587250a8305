"""The losses of dense prediction."""

import math

import pytest
import torch

from mtlutils import losses


def planes(*values):
    """One image of one row: (1, C, 1, W) from C rows of W values."""
    return torch.tensor(values, dtype=torch.float32)[None, :, None, :]


def drawn(task, n=2, height=3, width=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    channels = {"segmentation": 4, "depth": 1, "normals": 3}[task]
    output = torch.randn(n, channels, height, width, generator=generator)
    if task == "segmentation":
        return output, torch.randint(-1, 4, (n, height, width), generator=generator)
    valid = torch.rand(n, 1, height, width, generator=generator) < 0.6
    target = torch.randn(n, channels, height, width, generator=generator)
    return output, valid * (target.abs() if task == "depth" else target / target.norm(dim=1, keepdim=True))


LOSSES = {"segmentation": losses.segmentation, "depth": losses.depth, "normals": losses.normals}


def test_segmentation_by_hand():
    output = planes([0.0, math.log(3), 9.0], [0.0, 0.0, -9.0])
    target = torch.tensor([[[0, 1, -1]]])
    expected = (math.log(2) + math.log(4)) / 2
    assert losses.segmentation(output, target).item() == pytest.approx(expected)
    assert losses.segmentation(output, target.clamp(min=0), unlabelled=1).item() == pytest.approx(
        (math.log(2) + math.log1p(math.exp(-18))) / 2
    )


def test_segmentation_is_mtans_negative_log_likelihood_of_the_log_softmax():
    output, target = drawn("segmentation")
    expected = torch.nn.functional.nll_loss(output.log_softmax(dim=1), target, ignore_index=-1)
    torch.testing.assert_close(losses.segmentation(output, target), expected)


def test_depth_by_hand():
    output, target = planes([1.0, 5.0, 3.0, -1.0]), planes([2.0, 0.0, 2.5, 1.0])
    assert losses.depth(output, target).item() == pytest.approx((1 + 0.5 + 2) / 3)


def test_negative_depth_is_not_valid():
    assert losses.depth(planes([1.0, 1.0]), planes([-1.0, 1.5])).item() == pytest.approx(0.5)


def test_normals_by_hand():
    # 0, 60 and 180 degrees; the fourth is not valid
    output = planes([2.0, 0.5, 0.0, 1.0], [0.0, math.sqrt(3) / 2, -1.0, 1.0], [0.0, 0.0, 0.0, 1.0])
    target = planes([1.0, 3.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0])
    assert losses.normals(output, target).item() == pytest.approx((0 + 0.5 + 2) / 3)


def test_normals_are_mtans_dot_product_where_lengths_are_1():
    output, target = drawn("normals")
    output = torch.nn.functional.normalize(output, dim=1)
    valid = target.abs().sum(dim=1) > 0
    expected = 1 - (output * target).sum() / valid.sum()
    torch.testing.assert_close(losses.normals(output, target), expected)


def test_lengths_of_normals_do_not_matter():
    output, target = drawn("normals")
    lengths = torch.rand(2, 1, 3, 5) + 0.1
    torch.testing.assert_close(losses.normals(3 * lengths * output, target), losses.normals(output, target))
    torch.testing.assert_close(losses.normals(output, lengths * target), losses.normals(output, target))


def test_target_that_sums_to_zero_is_valid():
    # MTAN's code would leave it out.
    assert losses.normals(planes([0.0], [1.0], [0.0]), planes([1.0], [0.0], [-1.0])).item() == pytest.approx(1)


def test_output_of_length_zero_is_a_right_angle_without_gradient():
    output = torch.zeros(1, 3, 1, 1, requires_grad=True)
    loss = losses.normals(output, planes([0.0], [0.0], [1.0]))
    loss.backward()
    assert loss.item() == 1
    assert output.grad.abs().sum() == 0


@pytest.mark.parametrize("task", LOSSES)
def test_invalid_pixels_change_neither_value_nor_gradient(task):
    output, target = drawn(task)
    valid = (target if task == "segmentation" else target.abs().sum(dim=1)) > (-1 if task == "segmentation" else 0)
    assert 0 < valid.sum() < valid.numel()
    results = []
    for changed in (output, torch.where(valid.unsqueeze(1), output, 100.0)):
        leaf = changed.clone().requires_grad_()
        loss = LOSSES[task](leaf, target)
        loss.backward()
        assert torch.equal(leaf.grad.abs().sum(dim=1) > 0, valid)
        results.append((loss.detach(), leaf.grad))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("task", LOSSES)
def test_mean_is_over_the_pixels_of_the_batch_not_over_images(task):
    output, target = drawn(task, n=4)
    parts = [LOSSES[task](output[i : i + 1], target[i : i + 1]) for i in range(4)]
    valid = (target if task == "segmentation" else target.abs().sum(dim=1)) > (-1 if task == "segmentation" else 0)
    pixels = valid.flatten(1).sum(dim=1)
    assert len(set(pixels.tolist())) > 1
    torch.testing.assert_close(LOSSES[task](output, target), (torch.stack(parts) * pixels).sum() / pixels.sum())


@pytest.mark.parametrize("task", LOSSES)
def test_nothing_valid_gives_0_with_a_graph(task):
    output, target = drawn(task)
    output.requires_grad_()
    loss = LOSSES[task](output, torch.full_like(target, -1) if task == "segmentation" else torch.zeros_like(target))
    assert loss.shape == ()
    assert loss.item() == 0
    loss.backward()
    assert torch.equal(output.grad, torch.zeros_like(output))


@pytest.mark.parametrize("task", LOSSES)
def test_gradients(task):
    output, target = drawn(task)
    target = target if task == "segmentation" else target.double()
    assert torch.autograd.gradcheck(lambda x: LOSSES[task](x, target), output.double().requires_grad_())


def test_unknown_depth_may_be_nan():
    output = planes([1.0, 2.0]).requires_grad_()
    loss = losses.depth(output, planes([math.nan, 2.5]))
    loss.backward()
    assert loss.item() == pytest.approx(0.5)
    assert output.grad.flatten().tolist() == [0, -1]


@pytest.mark.parametrize("task", LOSSES)
def test_nothing_is_read_back_from_the_device(task):
    # Tensors of the device "meta" have no values: whatever asks for one raises.
    output, target = (tensor.to("meta") for tensor in drawn(task))
    assert LOSSES[task](output.requires_grad_(), target).device.type == "meta"
