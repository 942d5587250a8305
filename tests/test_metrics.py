"""Metrics of dense prediction and of all tasks together, and the measure that sums them up."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score

from mtlutils import metrics
from mtlutils.statistics import delta_m

METRICS = {"segmentation": lambda: metrics.segmentation(4), "depth": metrics.depth, "normals": metrics.normals}
NORMALS = ["mean_angle", "median_angle", "within_11.25", "within_22.5", "within_30"]


def measured(metric, *batches):
    metric.reset()
    for output, target in batches:
        metric.update(output, target)
    return {name: value.item() for name, value in metric.compute().items()}


def drawn(task, n, seed, height=6, width=7):
    """Batches whose outputs are of different quality, and of which different shares are valid."""
    generator = torch.Generator().manual_seed(seed)

    def normal(channels):
        return torch.randn(n, channels, height, width, generator=generator)

    valid = torch.rand(n, height, width, generator=generator) < (0.9, 0.3, 0.6)[seed % 3]
    if task == "segmentation":
        target = torch.randint(0, 4, (n, height, width), generator=generator)
        output = normal(4) + (seed % 3) * torch.nn.functional.one_hot(target, 4).permute(0, 3, 1, 2)
        return output, torch.where(valid, target, -1)
    channels = 1 if task == "depth" else 3
    target = normal(channels)
    target = target.abs() + 0.1 if task == "depth" else target / target.norm(dim=1, keepdim=True)
    return target + 0.3 * (1 + seed % 3) * normal(channels), torch.where(valid.unsqueeze(1), target, 0)


@pytest.mark.parametrize("task", METRICS)
def test_batches_give_what_all_at_once_gives_and_not_their_mean(task):
    batches = [drawn(task, n, seed) for seed, n in enumerate((3, 1, 4))]
    at_once = tuple(torch.cat(part) for part in zip(*batches, strict=True))
    metric = METRICS[task]()
    accumulated = measured(metric, *batches)
    assert accumulated == pytest.approx(measured(metric, at_once), rel=1e-6)
    each = [measured(metric, batch) for batch in batches]
    for name, value in accumulated.items():
        assert abs(np.mean([values[name] for values in each]) - value) > 1e-4


@pytest.mark.parametrize("task", METRICS)
def test_values_are_scalars_of_these_names_after_a_reset_too(task):
    names = {"segmentation": ["miou", "pixel_accuracy"], "depth": ["absolute_error", "relative_error"]}
    metric = METRICS[task]()
    metric.update(*drawn(task, 1, 5))
    metric.reset()
    metric.update(*drawn(task, 2, 1))
    values = metric.compute()
    assert sorted(values) == sorted(names.get(task, NORMALS))
    assert all(value.shape == () for value in values.values())
    assert {name: value.item() for name, value in values.items()} == measured(METRICS[task](), drawn(task, 2, 1))


@pytest.mark.parametrize("task", METRICS)
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_nothing_valid_is_nan(task):
    metric = METRICS[task]()
    output, target = drawn(task, 2, 0)
    nothing = torch.full_like(target, -1) if task == "segmentation" else torch.zeros_like(target)
    assert all(math.isnan(value) for value in measured(metric).values())
    assert all(math.isnan(value) for value in measured(metric, (output, nothing)).values())
    # and adds nothing to what is valid
    assert measured(metric, (output, target), (output, nothing)) == measured(metric, (output, target))


@pytest.mark.parametrize("task", METRICS)
def test_outputs_at_invalid_pixels_do_not_matter(task):
    output, target = drawn(task, 2, 1)
    valid = target >= 0 if task == "segmentation" else (target != 0).any(dim=1)
    metric = METRICS[task]()
    expected = measured(metric, (output, target))
    for value in (1e3, math.nan):
        changed = torch.where(valid.unsqueeze(1), output, torch.tensor(value))
        assert measured(metric, (changed, target)) == expected


@pytest.mark.parametrize("task", METRICS)
def test_nothing_is_read_back_from_the_device(task):
    # Tensors of the device "meta" have no values: whatever asks for one raises.
    metric = METRICS[task]().to("meta")
    metric.update(*(tensor.to("meta") for tensor in drawn(task, 2, 0)))
    assert all(value.device.type == "meta" for value in metric.compute().values())


@pytest.mark.parametrize("task", METRICS)
def test_half_precision_outputs(task):
    output, target = drawn(task, 2, 1)
    metric = METRICS[task]()
    low = output.bfloat16()
    assert measured(metric, (low, target)) == measured(metric, (low.float(), target))


# Segmentation


def logits(classes, n_classes):
    return torch.nn.functional.one_hot(torch.as_tensor(classes), n_classes).movedim(-1, 1).float()


def test_segmentation_by_hand():
    target = torch.tensor([[[0, 0, 0, 1, 1, -1]]])
    output = logits([[[0, 0, 1, 1, 2, 2]]], 4)
    # 0: 2 of 3; 1: 1 of 3; 2: predicted only, 0; 3 never occurs
    values = measured(metrics.segmentation(4), (output, target))
    assert values == pytest.approx({"miou": (2 / 3 + 1 / 3 + 0) / 3, "pixel_accuracy": 3 / 5})


@pytest.mark.parametrize("n_classes", [2, 7, 13])
def test_segmentation_is_scikit_learns_over_several_batches(n_classes):
    generator = torch.Generator().manual_seed(n_classes)
    batches = []
    for n in (3, 1, 2):
        target = torch.randint(-1, n_classes, (n, 8, 9), generator=generator)
        output = torch.randn(n, n_classes, 8, 9, generator=generator) + 2 * logits(target.clamp(min=0), n_classes)
        batches.append((output, target))
    values = measured(metrics.segmentation(n_classes), *batches)
    truth = torch.cat([target.flatten() for _, target in batches])
    predicted = torch.cat([output.argmax(dim=1).flatten() for output, _ in batches])
    labelled = truth >= 0
    truth, predicted = truth[labelled].numpy(), predicted[labelled].numpy()
    assert values["miou"] == pytest.approx(jaccard_score(truth, predicted, average="macro"))
    assert values["pixel_accuracy"] == pytest.approx((truth == predicted).mean())


def test_class_of_another_batch_counts_for_the_whole():
    # Class 1 is in the second batch only: the mean is taken over both classes once, not batch by batch.
    first = logits([[[0, 0]]], 2), torch.tensor([[[0, 0]]])
    second = logits([[[0, 1]]], 2), torch.tensor([[[1, 1]]])
    assert measured(metrics.segmentation(2), first, second)["miou"] == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_other_number_of_unlabelled_pixels():
    values = measured(
        metrics.segmentation(3, unlabelled=255), (logits([[[0, 1, 2]]], 3), torch.tensor([[[0, 255, 1]]]))
    )
    assert values == pytest.approx({"miou": 1 / 3, "pixel_accuracy": 1 / 2})


@pytest.mark.parametrize("wrong", [3, 255, -2])
def test_class_that_is_none_is_an_error(wrong):
    with pytest.raises(RuntimeError, match="out of bounds"):
        metrics.segmentation(3).update(logits([[[0, 0]]], 3), torch.tensor([[[0, wrong]]]))


# Depth


def test_depth_by_hand():
    output = torch.tensor([1.0, 5.0, 3.0, -1.0]).view(1, 1, 2, 2)
    target = torch.tensor([2.0, 0.0, 2.5, 1.0]).view(1, 1, 2, 2)
    expected = {"absolute_error": (1 + 0.5 + 2) / 3, "relative_error": (1 / 2 + 0.5 / 2.5 + 2 / 1) / 3}
    assert measured(metrics.depth(), (output, target)) == pytest.approx(expected)


def test_depth_is_numpys():
    batches = [drawn("depth", n, seed) for seed, n in enumerate((2, 4))]
    output, target = (np.concatenate([each.numpy().ravel() for each in part]) for part in zip(*batches, strict=True))
    error = np.abs(output - target)[target > 0].astype(float)
    values = measured(metrics.depth(), *batches)
    assert values["absolute_error"] == pytest.approx(error.mean(), rel=1e-6)
    assert values["relative_error"] == pytest.approx((error / target[target > 0]).mean(), rel=1e-6)


def test_many_small_errors_are_not_lost_beside_a_large_sum():
    metric = metrics.depth()
    metric.update(torch.full((1, 1, 1, 1), 1e9), torch.ones(1, 1, 1, 1))
    for _ in range(10):
        metric.update(torch.full((1, 1, 1, 1), 2.0), torch.ones(1, 1, 1, 1))
    assert metric.compute()["absolute_error"].item() * 11 == pytest.approx(1e9 + 10, abs=0.5)


# Normals


def turned(degrees):
    """Outputs (1, 3, 1, N) at these angles to targets along z, of different lengths."""
    radians = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    lengths = torch.linspace(0.5, 3, len(degrees))
    output = torch.stack([radians.sin() * 0.6, radians.sin() * 0.8, radians.cos()]) * lengths
    target = torch.zeros(3, len(degrees))
    target[2] = 1
    return output.float()[None, :, None], target[None, :, None]


def test_normals_by_hand():
    values = measured(metrics.normals(), turned([0.0, 10.0, 20.0, 29.0, 45.0, 180.0]))
    assert values["mean_angle"] == pytest.approx(284 / 6, abs=1e-4)
    assert values["median_angle"] == pytest.approx(24.5, abs=0.005 + 1e-4)
    assert [values[name] for name in NORMALS[2:]] == pytest.approx([2 / 6, 3 / 6, 4 / 6])


@pytest.mark.parametrize("n", [1, 2, 3, 10, 101])
def test_median_is_numpys_within_half_a_bin(n):
    degrees = np.random.default_rng(n).uniform(0, 180, n).tolist()
    values = measured(metrics.normals(), turned(degrees[: n // 3]), turned(degrees[n // 3 :]))
    assert abs(values["median_angle"] - np.median(degrees)) <= metrics.ANGLE_RESOLUTION / 2 + 1e-4
    assert values["mean_angle"] == pytest.approx(np.mean(degrees), abs=1e-4)


def test_normals_are_numpys_over_several_batches():
    batches = [drawn("normals", n, seed, 20, 30) for seed, n in enumerate((2, 1, 3))]
    output, target = (
        np.concatenate([each.movedim(1, -1).reshape(-1, 3).double().numpy() for each in part])
        for part in zip(*batches, strict=True)
    )
    valid = np.abs(target).sum(axis=1) > 0
    output, target = output[valid], target[valid]
    cosine = (output * target).sum(axis=1) / np.linalg.norm(output, axis=1) / np.linalg.norm(target, axis=1)
    degrees = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    values = measured(metrics.normals(), *batches)
    assert values["mean_angle"] == pytest.approx(degrees.mean(), abs=1e-4)
    assert values["median_angle"] == pytest.approx(np.median(degrees), abs=0.005 + 1e-4)
    for name, threshold in metrics.THRESHOLDS.items():
        assert values[name] == pytest.approx((degrees < threshold).mean(), abs=1.5 / len(degrees))


def test_small_angles_are_exact():
    # The arc cosine of a float32 near 1 would give 0 or 0.02 degrees.
    values = measured(metrics.normals(), turned([0.004] * 5))
    assert values["mean_angle"] == pytest.approx(0.004, abs=1e-5)


def test_thresholds_are_multiples_of_the_resolution():
    for threshold in metrics.THRESHOLDS.values():
        assert (threshold / metrics.ANGLE_RESOLUTION) == pytest.approx(round(threshold / metrics.ANGLE_RESOLUTION))
    values = measured(metrics.normals(), turned([11.24, 11.26, 22.49, 22.51, 29.99, 30.01]))
    assert [values[name] for name in NORMALS[2:]] == pytest.approx([1 / 6, 3 / 6, 5 / 6])


def test_output_of_zero_counts_as_a_right_angle():
    _, target = turned([0.0, 0.0])
    values = measured(metrics.normals(), (torch.zeros(1, 3, 1, 2), target))
    assert values["mean_angle"] == 90
    assert values["within_30"] == 0


def test_outputs_that_are_not_finite_show():
    output, target = turned([10.0, 20.0])
    output[0, 0, 0, 0] = math.nan
    values = measured(metrics.normals(), (output, target))
    assert math.isnan(values["mean_angle"])
    assert math.isnan(values["median_angle"])


@pytest.mark.parametrize("length", [1e-9, 1e-4, 1e4, 1e15])
def test_lengths_do_not_matter(length):
    output, target = turned([5.0, 15.0, 120.0])
    metric = metrics.normals()
    assert measured(metric, (output * length, target)) == pytest.approx(measured(metric, (output, target)), abs=1e-4)
    assert measured(metric, (output, target * length)) == pytest.approx(measured(metric, (output, target)), abs=1e-4)


def test_memory_does_not_grow_with_the_split():
    metric = metrics.normals()
    sizes = []
    for seed in range(3):
        metric.update(*drawn("normals", 4, seed))
        sizes.append(sum(state.numel() for state in metric["normals"].metric_state.values()))
    assert len(set(sizes)) == 1


# All tasks together


def scores(classes, n_classes):
    return torch.nn.functional.one_hot(torch.as_tensor(classes), n_classes).float()


def several(n, seed):
    """Outputs and classes of n items of three tasks."""
    generator = torch.Generator().manual_seed(seed)
    n_classes = {"count": 6, "hand": 2, "colour": 3}
    targets = {task: torch.randint(0, k, (n,), generator=generator) for task, k in n_classes.items()}
    outputs = {task: torch.randn(n, k, generator=generator) for task, k in n_classes.items()}
    return {task: 0.5 * each + scores(targets[task], n_classes[task]) for task, each in outputs.items()}, targets


def test_exact_match_by_hand():
    targets = {"count": torch.tensor([0, 1, 2, 3]), "hand": torch.tensor([0, 1, 0, 1])}
    outputs = {"count": scores([0, 1, 5, 4], 6), "hand": scores([0, 0, 0, 0], 2)}
    assert measured(metrics.exact_match(), (outputs, targets)) == {"accuracy": 1 / 4}
    of_one = {task: {"count": each["count"]} for task, each in (("outputs", outputs), ("targets", targets))}
    assert measured(metrics.exact_match(), tuple(of_one.values())) == {"accuracy": 1 / 2}
    # outputs that nothing is known of do not count
    assert measured(metrics.exact_match(), (outputs, of_one["targets"])) == {"accuracy": 1 / 2}


def test_exact_match_is_that_of_all_pairs_as_classes_of_one_task():
    outputs, targets = several(200, 0)
    joint_output = (outputs["count"].unsqueeze(2) + outputs["hand"].unsqueeze(1)).flatten(1)
    joint = 2 * targets["count"] + targets["hand"]
    pair = measured(metrics.exact_match(), (outputs, {task: targets[task] for task in ("count", "hand")}))
    assert pair == measured(metrics.exact_match(), ({"joint": joint_output}, {"joint": joint}))
    assert pair == pytest.approx(measured(metrics.classification(12), (joint_output, joint)))


def test_exact_match_over_batches_is_numpys_and_not_their_mean():
    batches = [several(n, seed) for seed, n in enumerate((30, 1, 44))]
    right = [
        np.all([outputs[task].argmax(dim=1).numpy() == targets[task].numpy() for task in targets], axis=0)
        for outputs, targets in batches
    ]
    value = measured(metrics.exact_match(), *batches)["accuracy"]
    assert value == pytest.approx(np.concatenate(right).mean())
    assert abs(value - np.mean([each.mean() for each in right])) > 1e-3
    assert 0 < value < 1


def test_exact_match_asks_for_every_task_and_is_nan_of_nothing():
    outputs, targets = several(4, 0)
    del outputs["hand"]
    metric = metrics.exact_match()
    with pytest.raises(KeyError, match="hand"):
        metric.update(outputs, targets)
    outputs, targets = several(0, 0)
    assert math.isnan(measured(metric, (outputs, targets))["accuracy"])


def test_exact_match_reads_nothing_back():
    outputs, targets = ({task: each.to("meta") for task, each in part.items()} for part in several(4, 0))
    metric = metrics.exact_match().to("meta")
    metric.update(outputs, targets)
    assert metric.compute()["accuracy"].device.type == "meta"


# Δm


def test_delta_m_by_hand():
    # +10 % of a higher-is-better metric, and 20 % less of a lower-is-better one
    assert delta_m([0.55, 8.0], [0.5, 10.0], [True, False]) == pytest.approx(15)
    assert delta_m([0.45, 12.0], [0.5, 10.0], [True, False]) == pytest.approx(-15)
    assert delta_m([0.55, 12.0], [0.5, 10.0], [True, False]) == pytest.approx(-5)


def test_delta_m_of_the_baseline_is_0_and_units_do_not_matter():
    values, baselines, higher = [0.4, 0.6, 25.0], [0.38, 0.65, 24.0], [True, False, False]
    assert delta_m(baselines, baselines, higher) == 0
    in_percent = [[100 * each[0], *each[1:]] for each in (values, baselines)]
    assert delta_m(*in_percent, higher) == pytest.approx(delta_m(values, baselines, higher))


def test_delta_m_that_cannot_be_had():
    assert math.isnan(delta_m([1.0, math.nan], [1.0, 1.0], [True, True]))
    assert math.isnan(delta_m([1.0], [0.0], [True]))
    assert math.isnan(delta_m([], [], []))
    with pytest.raises(ValueError, match="zip"):
        delta_m([1.0, 2.0], [1.0], [True])
