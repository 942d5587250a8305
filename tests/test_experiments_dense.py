"""Experiments on rooms and streets, and on hands: what their settings do, what their records hold, what they cost."""

import re
from dataclasses import replace
from hashlib import sha256
from unittest.mock import Mock
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from mtlutils import experiments, models, records, training
from mtlutils.data import dense_standin, fingers
from mtlutils.errors import InputError
from mtlutils.experiments import dense, estimate
from mtlutils.experiments.estimate import Work

SEGNET = experiments.load("single_step_dense")
RESNET = experiments.load("rlw_mtan_nyuv2")
HANDS = experiments.load("fingers")
FEW = {"train_images": 4, "validation_images": 2, "test_images": 3, "epochs": 1, "batch_size": 2, "width": 2}
SMALL = FEW | {"image_size": [32, 32]}
FEW_HANDS = {"size": 16, "train_images": 24, "validation_images": 12, "test_images": 12, "epochs": 2, "batch_size": 8}
METRICS = {
    "segmentation": {"miou", "pixel_accuracy"},
    "depth": {"absolute_error", "relative_error"},
    "normal": {"mean_angle", "median_angle", "within_11.25", "within_22.5", "within_30"},
}


@pytest.fixture(autouse=True)
def no_data_of_another_test():
    dense.load.cache_clear()


@pytest.fixture
def trained(monkeypatch):
    """Ask for a run, and get what its training was asked for."""

    def ask(experiment, method, seed=0, **parameters):
        asked = {}

        def train(**given):
            asked.update(given)
            raise InterruptedError

        monkeypatch.setattr(training, "train", train)
        with pytest.raises(InterruptedError):
            experiment.run(method, seed, **SMALL | parameters)
        return asked

    return ask


# Dense prediction


@pytest.mark.parametrize(
    ("experiment", "architecture", "dataset"),
    [
        (SEGNET, "segnet", "nyuv2"),
        (SEGNET, "segnet_mtan", "cityscapes"),
        (RESNET, "dilated_resnet", "nyuv2"),
        (RESNET, "dilated_resnet_mtan", "nyuv2"),
    ],
)
def test_a_run_measures_every_task_on_every_split(experiment, architecture, dataset, tmp_path):
    record = experiment.run(
        "equal", 0, results=tmp_path, architecture=architecture, dataset=dataset, predictions=2, **SMALL
    )
    assert record.status == "completed"
    tasks = dense.TASKS[dataset]
    assert record.parameters["tasks"] == list(tasks)
    names = {f"{split}/{what}/{t}" for split in ("validation", "test") for t in tasks for what in METRICS[t] | {"loss"}}
    assert set(record.metrics) == names
    assert record.data.kind == "stand-in"
    assert record.data.sizes == {"train": 4, "validation": 2, "test": 3}
    shapes = {"segmentation": (2, 32, 32), "depth": (2, 32, 32), "normal": (2, 3, 32, 32)}
    kept = records.predictions(record, tmp_path)
    assert {name: values.shape for name, values in kept.items()} == {f"test/{task}": shapes[task] for task in tasks}


def test_the_loss_of_depth_is_its_absolute_error_and_that_of_normals_fits_their_angles():
    # Two ways to the same number: one by batches in the loop, one over the whole split.
    record = SEGNET.run("equal", 0, **SMALL | {"test_images": 2})
    assert record.metrics["test/loss/depth"] == pytest.approx(record.metrics["test/absolute_error/depth"], rel=1e-4)
    mean = record.metrics["test/mean_angle/normal"]
    assert 1 - np.cos(np.deg2rad(mean)) < record.metrics["test/loss/normal"] < 2  # Jensen: 1 - cos is convex up to 90°


def test_predictions_are_those_of_the_trained_network(tmp_path, monkeypatch):
    kept = []
    learner = dense._learner

    def remembered(*arguments):
        kept.append(learner(*arguments))
        return kept[-1]

    monkeypatch.setattr(dense, "_learner", remembered)
    record = SEGNET.run("equal", 0, results=tmp_path, predictions=3, **SMALL)
    found = records.predictions(record, tmp_path)
    model, *_ = kept[0]
    test = dense_standin.load("room", 4, 2, 3, (32, 32), ["depth"]).test
    with torch.no_grad():
        outputs = model.eval()(test.images.float())
    np.testing.assert_array_equal(found["test/segmentation"], outputs["segmentation"].argmax(dim=1).numpy())
    np.testing.assert_allclose(found["test/depth"], outputs["depth"][:, 0].numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found["test/normal"] / 127, normalize(outputs["normal"], dim=1).numpy(), atol=0.005)
    other = SEGNET.run("equal", 1, results=tmp_path, predictions=3, **SMALL)
    assert records.predictions(other, tmp_path) == {}


def test_single_task_runs_share_what_is_loaded_and_know_their_task_alone(trained):
    asked = [trained(SEGNET, "single_task", tasks=[task]) for task in dense.TASKS["nyuv2"]]
    for each, task in zip(asked, dense.TASKS["nyuv2"], strict=True):
        assert list(each["losses"]) == list(each["metrics"]) == list(each["model"].heads) == [task]
        assert list(each["splits"]["train"].targets) == [task]
        assert each["splits"]["train"].images is asked[0]["splits"]["train"].images
    assert [each["balancer"].n_tasks for each in asked] == [1, 1, 1]


def test_dense_runs_train_as_their_settings_say(trained):
    asked = trained(
        RESNET,
        "uncertainty",
        seed=5,
        epochs=7,
        learning_rate=0.03,
        weight_decay=0.2,
        schedule="constant",
        precision="bf16",
        augment=True,
        architecture="dilated_resnet",
        layers=[1, 2, 1, 1],
        aspp_channels=6,
    )
    given = {"epochs": 7, "batch_size": 2, "seed": 5, "schedule": "constant", "precision": "bf16"}
    assert {name: asked[name] for name in given} == given
    (group,) = asked["optimizer"].param_groups
    learned = [*asked["model"].parameters(), *asked["balancer"].parameters()]
    assert [id(each) for each in group["params"]] == [id(each) for each in learned]
    assert (group["lr"], group["weight_decay"]) == (0.03, 0.2)
    assert isinstance(asked["optimizer"], torch.optim.Adam)
    assert asked["splits"]["train"].augment
    assert not asked["splits"]["test"].augment
    assert [len(layer) for name, layer in asked["model"].encoder.named_children() if name.startswith("layer")] == [
        1,
        2,
        1,
        1,
    ]
    assert next(asked["model"].parameters()).shape[0] == 2


def test_seed_decides_where_a_dense_network_starts(trained):
    weights = [next(trained(SEGNET, "equal", seed=seed)["model"].parameters()) for seed in (0, 0, 1)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize(
    ("experiment", "parameters", "size", "batch"),
    [
        (SEGNET, {"dataset": "nyuv2"}, (288, 384), 2),
        (SEGNET, {"dataset": "cityscapes"}, (128, 256), 8),
        (RESNET, {"dataset": "nyuv2"}, (288, 384), 8),
        (RESNET, {"dataset": "nyuv2", "batch_size": 3, "image_size": [64, 32]}, (64, 32), 3),
    ],
)
def test_published_sizes(experiment, parameters, size, batch):
    (run,) = experiment.plan(["equal"], [0], **{"image_size": None, "batch_size": 0} | parameters)
    assert (run.settings.size, run.settings.images_a_step) == (size, batch)


@pytest.mark.parametrize(
    ("experiment", "given", "message"),
    [
        (SEGNET, {"dataset": "kitti"}, "dataset: .*got 'kitti'"),
        (SEGNET, {"dataset": "cityscapes", "tasks": ["normal"]}, "^cityscapes has no task normal$"),
        (SEGNET, {"architecture": "dilated_resnet"}, "architecture: .*got 'dilated_resnet'"),
        (SEGNET, {"layers": [1, 1, 1, 1]}, "unknown parameter 'layers'"),
        (SEGNET, {"image_size": [48, 32]}, "multiples of 32"),
        (RESNET, {"layers": [1, 1, 1, 1]}, "two or more blocks"),
        (RESNET, {"pretrained": True}, "resnet50.*set pretrained to false"),
        (SEGNET, {"train_images": 0}, "^a stand-in needs at least one image"),
        (SEGNET, {"data": "real"}, "nyuv2.*download"),
        (SEGNET, {"data": "real", "dataset": "cityscapes"}, "cityscapes.*download"),
        (SEGNET, {"learning_rate": 0}, "learning_rate: .*greater than 0"),
    ],
)
def test_wrong_parameter_of_a_dense_run_is_one_line(experiment, given, message, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", Mock(side_effect=URLError("no network")))
    with pytest.raises(InputError, match=message) as error:
        experiment.runs(["equal"], [0], **SMALL | given)
    assert "\n" not in str(error.value)


# Hands


@pytest.mark.parametrize(
    ("method", "tasks"), [("equal", ["count", "hand"]), ("single_task", ["joint"]), ("single_task", ["count"])]
)
def test_a_run_on_hands(method, tasks, tmp_path):
    record = HANDS.run(method, 0, results=tmp_path, tasks=tasks, predictions=5, **FEW_HANDS)
    speed = {"test/loss/pair", "test/mean_loss/pair", "test/mean_accuracy/pair", "test/epochs_to_99/pair"}
    assert speed <= set(record.metrics) or tasks == ["count"]
    kept = records.predictions(record, tmp_path)
    assert {name: values.shape for name, values in kept.items()} == dict.fromkeys(tasks, (5,))
    test = fingers.load("stand-in", tasks, 16, 24, 12, 12).test
    assert len(test) == record.data.sizes["test"] == 12


def test_speed_of_training_is_taken_from_its_curves():
    record = HANDS.run("equal", 3, **FEW_HANDS)
    losses = np.add(record.curves["test/loss/count"], record.curves["test/loss/hand"])
    assert record.metrics["test/loss/pair"] == pytest.approx(losses[-1])
    assert record.metrics["test/mean_loss/pair"] == pytest.approx(losses.mean())
    assert record.metrics["test/mean_accuracy/pair"] == pytest.approx(np.mean(record.curves["test/accuracy/pair"]))
    assert record.metrics["test/epochs_to_99/pair"] is None


@pytest.mark.parametrize(
    ("accuracies", "reached"), [([0.5, 0.98, 0.99, 0.4], 3.0), ([1.0, 0.2, 0.2, 1.0], 1.0), ([0.98] * 4, None)]
)
def test_epochs_to_99_is_the_first_epoch_there(accuracies, reached):
    from mtlutils.experiments.fingers import _of_training

    result = training.Result(
        "completed", "", 4, {"test/loss/joint": [4.0, 3.0, 2.0, 1.0], "test/accuracy/pair": accuracies}, {}, None
    )
    found = _of_training(result, ("joint",))
    assert found["test/epochs_to_99/pair"] == reached
    assert (found["test/loss/pair"], found["test/mean_loss/pair"]) == (1.0, 2.5)


def test_diverged_run_on_hands_has_no_speed():
    record = HANDS.run("single_task", 0, tasks=["joint"], optimizer="sgd", learning_rate=1e30, **FEW_HANDS)
    assert record.status == "diverged"
    assert all(record.metrics[f"test/{name}/pair"] is None for name in ("loss", "mean_loss", "mean_accuracy"))


# What runs will take


@pytest.fixture
def clocked(monkeypatch):
    """A clock that a step moves on by as many seconds as it is told."""
    now = [0.0]
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])

    def work(seconds, steps, evaluated=0.0):
        def step():
            now[0] += seconds

        return Work(step, steps, evaluated)

    return work


def test_estimate_is_steps_times_their_seconds_of_every_run_without_a_record(clocked):
    runs = HANDS.plan(["equal"], [0, 1, 2], learning_rate=[0.1, 0.2])
    asked = []

    def work(run, device):
        asked.append(run)
        return clocked(2.0, 100, 1.5) if run.settings.learning_rate == 0.1 else clocked(0.5, 1000)

    text = estimate.of(runs, work, torch.device("cpu"))
    assert len(asked) == 2  # seeds are alike
    seconds = 3 * (2.0 * 100 * 1.5) + 3 * (0.5 * 1000)
    assert text.startswith(f"6 runs without a record, about {seconds / 60:.0f} min on one CPU process")
    assert "equal on count, hand: 8 min" in text


def test_estimate_counts_what_is_missing_only(tmp_path):
    parameters = SMALL | {"results": tmp_path}
    assert "1 runs without a record" in SEGNET.estimate(SEGNET.plan(["equal"], [0], **parameters))
    SEGNET.run("equal", 0, **parameters)
    assert SEGNET.estimate(SEGNET.plan(["equal"], [0], **parameters)).endswith("nothing is trained.")
    pairs = experiments.load("single_step_multimnist")
    with pytest.raises(InputError, match="no estimate"):
        pairs.estimate(pairs.plan(["equal"], [0]))


def test_estimate_says_what_does_not_fit(clocked, monkeypatch):
    runs = HANDS.plan(["equal"], [0])
    texts = []
    for size in (2**30, 2**60):
        work = replace(clocked(1.0, 1), data_bytes=size)
        texts.append(estimate.of(runs, lambda *_, work=work: work, torch.device("cpu")))
    assert re.search(r"data included: \d+\.\d of \d+ GiB\.$", texts[0])
    assert re.search(r"data included: \d+\.\d of \d+ GiB, which it does not fit\.$", texts[1])


def test_data_bytes_are_those_of_the_tensors():
    (run,) = SEGNET.plan(["single_task"], [0], **SMALL | {"tasks": ["depth"]})
    data = dense.data_of(run.settings, torch.device("cpu"))
    tensors = [t for s in (data.train, data.validation, data.test) for t in (s.images, *s.targets.values())]
    assert dense.work(run, torch.device("cpu")).data_bytes == sum(tensor.nbytes for tensor in tensors)


def test_work_is_compiled_where_asked(monkeypatch):
    compiled = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda model: compiled.append(model))
    (run,) = SEGNET.plan(["equal"], [0], **SMALL)
    for asked in (False, True):
        dense.work(run, torch.device("cpu"), asked)
    assert len(compiled) == 1


def test_work_on_hands_is_that_of_its_settings():
    (run,) = HANDS.plan(["single_task"], [0], tasks=["joint"], **FEW_HANDS | {"epochs": 3, "batch_size": 10})
    work = HANDS.work(run, torch.device("cpu"))
    assert (work.steps, work.evaluated, work.data_bytes) == (9, 1.0, 48 * 16**2)
    assert work.step().shape == (1,)


def test_estimate_needs_no_weights_and_the_record_of_a_run_names_them(tmp_path, monkeypatch):
    sizes = {"layers": [2, 1, 1, 2], "width": 2, "aspp_channels": 4, "architecture": "dilated_resnet"}
    (run,) = RESNET.plan(["equal"], [0], **SMALL | sizes | {"pretrained": True, "results": tmp_path / "records"})
    dense.work(run, torch.device("cpu"))
    weights = tmp_path / "resnet50-0676ba61.pth"
    torch.save(models.dilated_resnet({"depth": 1}, sizes["layers"], 2, 4).encoder.state_dict(), weights)
    monkeypatch.setattr(dense, "pretrained_weights", lambda: weights)
    data, _ = dense.measure(run, torch.device("cpu"))
    assert data.checksums[f"weights/{weights.name}"] == f"sha256:{sha256(weights.read_bytes()).hexdigest()}"


@pytest.mark.parametrize("method", ["equal", "single_step(alpha=0.0001)"])
def test_work_of_a_dense_run_is_that_of_its_settings(method):
    (run,) = SEGNET.plan([method], [0], **SMALL | {"epochs": 3, "train_images": 5})
    work = dense.work(run, torch.device("cpu"))
    assert (work.steps, work.evaluated) == (9, 1.0)
    first, second = work.step(), work.step()
    assert first.shape == (3,)
    assert not torch.equal(first, second)  # it has learned something
    (real,) = SEGNET.plan(["equal"], [0], data="real", dataset="cityscapes", width=2, image_size=[32, 32], epochs=2)
    assert dense.work(real, torch.device("cpu")).steps == 2 * 744
