"""Records -> figures: what is drawn is what the records say."""

import base64
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from bs4 import BeautifulSoup
from made_up import a_record, accuracy, cost

from mtlutils import figures

TASKS = ["2-class", "4-class"]


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def trained(method, seed, two, four, weights=None, **changed):
    """A record with the given curves of the test losses."""
    curves = {"test/loss/2-class": two, "test/loss/4-class": four}
    curves = {name: curve for name, curve in curves.items() if curve is not None}
    if weights:
        curves |= {"train/weight/2-class": weights, "train/weight/4-class": [2 - weight for weight in weights]}
    tasks = [task for task, curve in zip(TASKS, (two, four), strict=True) if curve is not None]
    return a_record(
        method=method, seed=seed, curves=curves, parameters={"tasks": tasks, "learning_rate": 1.0}, **changed
    )


def lines_of(axis):
    return {line.get_label(): line.get_ydata().tolist() for line in axis.lines if not line.get_label().startswith("_")}


def titles_of(figure):
    return [axis.get_title() for axis in figure.axes]


GROUP = [
    trained("equal", 0, [1.0, 0.5], [2.0, 1.0], [1.0, 1.0]),
    trained("equal", 1, [4.0, 2.0], [2.0, 1.0], [1.0, 1.0]),
    trained("single_task", 0, [3.0, 1.0], None),
    trained("single_task", 0, None, [1.0, 1.0]),
    trained("adaptive", 0, [2.0, 1.0], [2.0, 2.0], [0.5, 0.25]),
    trained("adaptive", 1, [2.0, 1.0], [2.0, 2.0], [0.75, 0.25]),
    trained("adaptive", 2, [2.0, 1.0], [2.0, 2.0], [0.6, 0.25]),
]


def test_loss_curves():
    figure = figures.loss_curves({"Here": GROUP, "There": GROUP[:2]}, TASKS)
    assert titles_of(figure) == [*TASKS, "sum"] * 2
    two, four, both, *others = map(lines_of, figure.axes)
    # geometric means over seeds
    assert two["equal"] == pytest.approx([2.0, 1.0])
    assert two["single_task"] == pytest.approx([3.0, 1.0])
    assert four["adaptive"] == pytest.approx([2.0, 2.0])
    assert both["equal"] == pytest.approx([math.sqrt(3 * 6), math.sqrt(1.5 * 3)])
    assert both["single_task"] == pytest.approx([4.0, 2.0])
    assert [list(each) for each in others] == [["equal"]] * 3


def test_weight_curves():
    figure = figures.weight_curves({"Here": GROUP}, TASKS)
    two, four = map(lines_of, figure.axes)
    assert two == {"equal": [1.0, 1.0], "adaptive": [0.6, 0.25]}  # medians; no weights with one task alone
    assert four["adaptive"] == pytest.approx([1.4, 1.75])


def test_weights_far_beyond_the_number_of_tasks_leave_the_others_readable():
    assert [axis.get_yscale() for axis in figures.weight_curves({"Here": GROUP}, TASKS).axes] == ["linear"] * 2
    large = {"train/weight/2-class": [1.0, 40.0], "train/weight/4-class": [1.0, 2.0]}
    grown = a_record(method="uncertainty", curves=large)
    two, four = figures.weight_curves({"Here": [*GROUP, grown]}, TASKS).axes
    assert (two.get_yscale(), four.get_yscale()) == ("symlog", "linear")
    assert list(two.get_yticks()) == [0, 1, 2, 10, 30]
    assert two.get_ylim()[0] == pytest.approx(-0.2) and two.get_ylim()[1] > 40


def test_a_method_looks_the_same_in_every_panel():
    figure = figures.loss_curves({"Here": GROUP, "There": GROUP[::-1]}, TASKS)
    looks = {}
    for axis in figure.axes:
        for line in axis.lines:
            looks.setdefault(line.get_label(), set()).add((line.get_color(), str(line.get_linestyle())))
    assert all(len(each) == 1 for each in looks.values())
    assert len({next(iter(each)) for each in looks.values()}) == len(looks)


@pytest.mark.parametrize(
    "extra",
    [
        [trained("dwa", 0, [1.5, None], [1.5, 1.5])],
        [trained("dwa", 0, [None], [None])],
        [trained("dwa", 0, [1.0, 2.0], [1.0, 1.0]), trained("dwa", 1, [None], [None])],
        [trained("dwa", 0, [1e30, 1e35], [1e30, 1e35])],
    ],
)
def test_loss_curves_of_diverged_runs(extra):
    figure = figures.loss_curves({"Here": [*GROUP, *extra]}, TASKS)
    assert lines_of(figure.axes[0])["equal"] == pytest.approx([2.0, 1.0])
    low, high = figure.axes[0].get_ylim()
    assert low < 1.0
    assert 2.0 < high < 100
    figures.show(figure, "alt", "caption")


def test_loss_curves_where_every_run_diverged():
    diverged = [trained(method, 0, [None], [None], [math.nan]) for method in ("equal", "dwa")]
    for draw in (figures.loss_curves, figures.weight_curves):
        figures.show(draw({"Here": diverged}, TASKS), "alt", "caption")


def test_sweep_has_a_gap_where_a_run_diverged():
    found = [
        accuracy("equal", seed, value, 0.5, learning_rate=rate)
        for rate, values in {1.0: [0.5, 0.7], 0.1: [0.4, 0.4], 10.0: [0.9, None]}.items()
        for seed, value in enumerate(values)
    ]
    figure = figures.sweep({"Here": found}, TASKS, "test/accuracy", "test accuracy", {"Here": 1.0})
    assert titles_of(figure) == TASKS
    (line,) = (line for line in figure.axes[0].lines if line.get_label() == "equal")
    assert line.get_xdata().tolist() == [0.1, 1.0, 10.0]
    assert line.get_ydata().tolist() == pytest.approx([0.4, 0.6, math.nan], nan_ok=True)
    assert lines_of(figure.axes[1])["equal"] == [0.5, 0.5, 0.5]
    assert "chosen" in {text.get_text() for text in figure.axes[0].texts}
    low, high = figure.axes[0].get_ylim()  # of the lines; two seeds that far apart have a band from -0.7 to 1.9
    assert 0.3 < low < 0.4
    assert 0.6 < high < 0.7


def test_at_most_three_panels_stand_side_by_side():
    curves = {f"test/loss/{task}": [2.0, 1.0] for task in "abcde"}
    found = [a_record(parameters={"tasks": list("abcde")}, curves=curves, seed=seed) for seed in (0, 1)]
    figure = figures.loss_curves({"Here": found, "There": found}, list("abcde"))
    assert [axis.get_title() for axis in figure.axes] == [*"abcde", "sum"] * 2
    columns = [axis.get_subplotspec().colspan.start for axis in figure.axes]
    assert columns == [0, 1, 2] * 4
    assert [bool(axis.get_ylabel()) for axis in figure.axes] == [column == 0 for column in columns]
    plt.close(figure)


@pytest.mark.parametrize("n_channels", [1, 3])
def test_images_have_their_titles_and_their_own_brightness(n_channels):
    pixels = np.full((7, 4, 4, n_channels), 51, dtype=np.uint8)
    figure = figures.images(pixels, list("abcdefg"))
    shown = [axis for axis in figure.axes if axis.images]
    assert [axis.get_title() for axis in shown] == list("abcdefg")
    for axis in shown:
        image = axis.images[0]
        drawn = image.to_rgba(image.get_array().squeeze())[..., :3]
        assert drawn == pytest.approx(np.full((4, 4, 3), 0.2), abs=0.01)


def test_cost():
    found = [
        cost(method, seed, n, 1e-5, ratio)
        for method, ratio in (("equal", 1), ("dwa", 3))
        for seed in (0, 1)
        for n in (2, 5)
    ]
    figure = figures.cost({"Here": found}, "n_tasks")
    assert titles_of(figure) == ["n_tasks = 2", "n_tasks = 5"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["equal", "dwa"]
    middles = [container.lines[0].get_xdata().tolist() for container in figure.axes[0].containers]
    assert middles == [[1.0, 1.0], [3.0, 3.0]]


def test_shown_figure_has_its_texts_and_is_the_same_each_time():
    shown = [
        figures.show(figures.loss_curves({"Here": GROUP}, TASKS), 'A "curve" <b>', "Caption <i>") for _ in range(2)
    ]
    assert shown[0].data == shown[1].data
    page = BeautifulSoup(shown[0].data, "html.parser")
    assert page.img["alt"] == 'A "curve" <b>'
    assert page.figcaption.text == "Caption <i>"
    kind, source = page.img["src"].split(",")
    assert kind == "data:image/svg+xml;base64"
    assert b"</svg>" in base64.b64decode(source)
    assert not plt.get_fignums()
    assert page.figure["class"] == ["drawn"]
    picture = figures.show(figures.images(np.zeros((1, 4, 4), dtype=np.uint8), ["black"]), "Black.", "A picture.")
    assert not BeautifulSoup(picture.data, "html.parser").figure.has_attr("class")


# Pairs of tasks: one against the other, against time, and what temporary steps change

PAIR = ("top-left", "bottom-right")
T_95 = 12.706204736  # 97.5 % quantile of Student's t with one degree of freedom


def paired(method, seed, *accuracies, dataset="mnist", traces=None, seconds=0.01, processor=None, **changed):
    """A record of both tasks' accuracies after each epoch, but for a task with ``...`` in their place."""
    values = {
        f"test/accuracy/{task}": curve
        for task, curve in zip(PAIR, zip(*accuracies, strict=True), strict=True)
        if ... not in curve
    }
    timing = a_record().timing.model_copy(update={"seconds_per_step": seconds, "processor_seconds_per_step": processor})
    return a_record(
        method=method,
        seed=seed,
        parameters={"dataset": dataset, "epochs": len(accuracies)},
        curves=values,
        metrics={name: curve[-1] for name, curve in values.items()},
        traces=traces or {},
        timing=timing,
        **changed,
    )


def traces_of(losses, stepped):
    """Traces of both tasks' losses (2, N) before and after temporary steps."""
    each = zip(("loss", "stepped_loss"), (losses, stepped), strict=True)
    return {f"step/{what}/{task}": list(values) for what, both in each for task, values in zip(PAIR, both, strict=True)}


def task_against_task(groups):
    return figures.task_against_task(groups, PAIR, "test/accuracy", "accuracy (%)", "dataset")


def metric_against_time(groups):
    return figures.metric_against_time(groups, PAIR, "test/accuracy", "mean accuracy (%)", "dataset")


def loss_ratios(groups):
    return figures.loss_ratios(groups, PAIR, "dataset")


def marks_of(axis):
    """Label -> mean, and half the drawn interval, in either direction."""
    marks = {}
    for container in axis.containers:
        point, _, bars = container.lines
        halves = [np.ptp(bar.get_segments()[0][:, i]) / 2 for i, bar in enumerate(bars)]
        marks[container.get_label()] = [*point.get_xydata()[0], *halves]
    return marks


def test_task_against_task_has_a_mark_a_method():
    found = [
        paired("single_task", 0, (0.85, ...)),
        paired("single_task", 1, (0.87, ...)),
        paired("single_task", 0, (..., 0.65)),
        paired("equal", 0, (0.80, 0.60)),
        paired("equal", 1, (0.84, 0.63)),
        paired("dwa", 0, (0.90, 0.50)),
        paired("uncertainty", 0, (0.90, 0.45)),  # as good in one task: none is better in both
        paired("adaptive", 0, (0.81, 0.60)),
        paired("adaptive", 1, (None, None), status="diverged"),
        paired("gradnorm", 0, (None, None), status="diverged"),
        paired("dwa", 0, (0.3, 0.2), dataset="fashion"),
    ]
    figure = task_against_task({"Here": found})
    digits, fashion = figure.axes
    assert titles_of(figure) == ["mnist", "fashion"]
    assert [axis.get_xlabel() for axis in figure.axes] == ["accuracy (%), top-left"] * 2
    assert [axis.get_ylabel() for axis in figure.axes] == ["accuracy (%), bottom-right", ""]
    assert marks_of(digits) == {
        "equal": pytest.approx([0.82, 0.615, T_95 * 0.02, T_95 * 0.015]),
        "dwa": pytest.approx([0.90, 0.50, 0, 0]),
        "uncertainty": pytest.approx([0.90, 0.45, 0, 0]),
        "adaptive": pytest.approx([0.81, 0.60, 0, 0]),
    }
    assert marks_of(fashion) == {"dwa": pytest.approx([0.3, 0.2, 0, 0])}
    across, up = [line for line in digits.lines if line.get_label() == "single_task"]
    assert across.get_xdata() == pytest.approx([0.86, 0.86])
    assert up.get_ydata() == pytest.approx([0.65, 0.65])
    assert {line.get_linestyle() for line in (across, up)} == {":"}
    (front,) = [line for line in digits.lines if line.get_linestyle() == "--"]
    assert sorted(front.get_xydata().tolist()) == [
        pytest.approx(at) for at in ([0.82, 0.615], [0.90, 0.45], [0.90, 0.50])
    ]
    assert front.get_xdata().tolist() == sorted(front.get_xdata())
    # the same look in every panel
    looks = [c.lines[0] for axis in figure.axes for c in axis.containers if c.get_label() == "dwa"]
    assert len({(line.get_color(), line.get_marker()) for line in looks}) == 1
    assert len(looks) == 2
    (legend,) = figure.legends
    shown = [text.get_text() for text in legend.get_texts()]
    assert set(shown) == {"single_task", "equal", "dwa", "uncertainty", "adaptive"}
    assert len(shown) == 5


def test_task_against_task_shows_where_the_marks_are():
    (axis,) = task_against_task({"Here": [paired("equal", 0, (0.95, 0.90)), paired("dwa", 0, (0.97, 0.91))]}).axes
    assert 0.9 < axis.get_xlim()[0] < 0.95
    assert 0.85 < axis.get_ylim()[0] < 0.90


TIMED = [
    *(paired("equal", seed, (0.2, 0.4), (0.6, 0.8), seconds=9.0, processor=0.01) for seed in (0, 1)),
    paired("single_step", 0, (0.4, 0.6), (0.8, 0.8), processor=0.03),
    paired("single_step", 1, (0.2, 0.4), (0.8, 1.0), processor=0.04),
    paired("single_task", 0, (0.9, ...), (0.9, ...), processor=0.5),
    paired("single_task", 0, (..., 0.9), (..., 0.9), processor=0.5),
]


def drawn(axis):
    """Label -> points (N, 2) of its line."""
    return {line.get_label(): line.get_xydata().tolist() for line in axis.lines}


def test_metric_against_time():
    figure = metric_against_time({"Here": [*TIMED, paired("equal", 0, (0.1, 0.1), dataset="fashion", processor=0.01)]})
    digits, fashion = figure.axes
    assert titles_of(figure) == ["mnist", "fashion"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"time (epochs of ordinary training)"}
    assert [axis.get_ylabel() for axis in figure.axes] == ["mean accuracy (%)", ""]
    assert drawn(fashion) == {"equal": [[1, pytest.approx(0.1)]]}
    # means over tasks, and then over seeds: 0.5 and 0.3, 0.8 and 0.9; a step takes 3.5 times as long
    assert drawn(digits) == {
        "equal": [pytest.approx([1, 0.3]), pytest.approx([2, 0.7])],
        "single_step": [pytest.approx([3.5, 0.4]), pytest.approx([7, 0.85])],
    }
    band = digits.collections[1].get_paths()[0].vertices
    for time, half in ((3.5, T_95 * 0.1), (7, T_95 * 0.05)):
        assert np.ptp(band[np.isclose(band[:, 0], time), 1]) / 2 == pytest.approx(half)


@pytest.mark.parametrize("reverse", [False, True])
def test_metric_against_time_goes_on_with_the_longer_run_of_a_seed(reverse):
    short = [paired("equal", seed, (0.0, 0.0), (0.0, 0.0)) for seed in (0, 1)]
    long = [paired("equal", seed, *[(n / 10, n / 10) for n in (1, 2, 3, 4)]) for seed in (0, 1)]
    found = [*short, *long][:: -1 if reverse else 1]
    (axis,) = metric_against_time({"Here": found}).axes
    assert drawn(axis) == {"equal": [pytest.approx([n, n / 10]) for n in (1, 2, 3, 4)]}


def test_metric_against_time_takes_runs_of_several_lengths_at_their_ends_where_the_rate_falls():
    short = [paired("equal", seed, (0.6, 0.6)) for seed in (0, 1, 2)]
    long = [paired("equal", 0, (0.1, 0.1), (0.2, 0.2), (0.9, 0.9))]
    other = [paired("dwa", seed, (0.3, 0.3), (0.4, 0.4)) for seed in (0, 1)]
    falling = [
        record.model_copy(update={"parameters": record.parameters | {"schedule": "one_cycle"}})
        for record in (*long, *short, *other)
    ]
    (axis,) = metric_against_time({"Here": falling}).axes
    assert drawn(axis) == {
        "equal": [pytest.approx([1, 0.6]), pytest.approx([3, 0.9])],
        "dwa": [pytest.approx([1, 0.3]), pytest.approx([2, 0.4])],  # all of one length: after every epoch
    }


def test_step_costs_are_relative_to_equal_and_in_processor_time_where_that_is_known():
    assert figures.step_costs(TIMED) == pytest.approx({"equal": 1, "single_step": 3.5, "single_task": 50})
    found = [paired("equal", seed, (0, 0), seconds=s) for seed, s in enumerate((0.02, 0.01, 0.9))]
    found += [paired("dwa", 0, (0, 0), seconds=0.05), paired("adaptive", 0, (0, 0), seconds=None)]
    assert figures.step_costs(found) == pytest.approx({"equal": 1, "dwa": 2.5})  # by the median, 0.02
    assert figures.step_costs(found[3:]) == figures.step_costs([]) == {}


def test_step_costs_compare_runs_on_the_same_device_alone():
    def on(device, method, seconds):
        record = paired(method, 0, (0, 0), seconds=seconds)
        return record.model_copy(update={"environment": record.environment.model_copy(update={"device": device})})

    found = [on("slow", "equal", 0.1), on("fast", "equal", 0.01), on("fast", "dwa", 0.03), on("other", "rlw", 0.5)]
    assert figures.step_costs(found) == pytest.approx({"equal": 1, "dwa": 3})


def test_loss_share():
    shares = figures.loss_share([[1.0, 2.0, None], [3.0, 2.0, 1.0]])
    assert shares == pytest.approx([0.25, 0.5, math.nan], nan_ok=True)


@pytest.mark.parametrize("n", [10, 51, 130])
def test_loss_ratios(n):
    both = np.random.default_rng(n).uniform(0.1, 2, size=(2, 2, n))
    found = [
        paired("split_only", 0, (0, 0)),  # without a trace
        paired("single_step", 1, (0, 0), traces=traces_of(*(1 + both))),
        paired("single_step", 0, (0, 0), traces=traces_of(*both)),
        paired("single_step", 0, (0, 0), traces=traces_of(*(2 + both)), dataset="fashion"),
    ]
    figure = loss_ratios({"Here": found})
    assert titles_of(figure) == ["mnist", "fashion"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"step"}
    assert [axis.get_ylabel() for axis in figure.axes] == ["share of top-left in the loss", ""]
    for axis, losses in zip(figure.axes, (both, 2 + both), strict=True):
        *lines, half = axis.lines
        assert half.get_ydata() == [0.5, 0.5]
        thin, thick = lines[::2], lines[1::2]
        assert [line.get_label() for line in thick] == ["before the temporary step", "after the temporary step"]
        for single, smooth, (first, second) in zip(thin, thick, losses, strict=True):
            share = first / (first + second)
            assert single.get_ydata() == pytest.approx(share)
            assert smooth.get_ydata() == pytest.approx(
                [np.median(share[max(i - 25, 0) : i + 26]) for i in range(n)]  # fewer at both ends
            )
            assert single.get_xdata().tolist() == smooth.get_xdata().tolist() == list(range(1, n + 1))
            assert single.get_linewidth() < smooth.get_linewidth()
    other = figures.loss_ratios({"Here": found}, PAIR[::-1], "dataset", seed=1).axes
    assert [axis.get_title() for axis in other] == ["mnist"]
    (one, two), _ = 1 + both
    assert other[0].lines[0].get_ydata() == pytest.approx(two / (one + two))


SEEN = traces_of([[1.0, 2.0]] * 2, [[1.0, 1.0]] * 2)
BROKEN = traces_of([[1.0, None]] * 2, [[None, None]] * 2)
GROUPS = {
    "one seed": [[paired("equal", 0, (0.5, 0.5)), paired("single_step", 0, (0.4, 0.4), traces=SEEN)]],
    "no equal": [[paired("single_step", seed, (0.4, 0.4), traces=SEEN) for seed in (0, 1)]],
    "some diverged": [
        [
            *(paired("equal", seed, (0.4, 0.4), (0.5, 0.5)) for seed in (0, 1)),
            paired("dwa", 0, (0.3, 0.3), (None, 0.3), status="diverged"),
            paired("single_step", 0, (0.4, None), status="diverged", traces=BROKEN),
        ]
    ],
    "all diverged": [[paired("single_step", 0, (None, None), status="diverged", traces=SEEN)]],
    "other data in each group": [
        [paired("equal", 0, (0.4, 0.4)), paired("single_step", 0, (0.4, 0.4), dataset="fashion", traces=SEEN)],
        [paired("equal", 0, (0.4, 0.4), dataset="fashion")],
    ],
}


@pytest.mark.parametrize("found", GROUPS.values(), ids=GROUPS)
@pytest.mark.parametrize("draw", [task_against_task, metric_against_time, loss_ratios])
@pytest.mark.filterwarnings("ignore:All-NaN slice:RuntimeWarning")
def test_pairs_are_drawn_whatever_is_missing(draw, found):
    figure = draw({f"Group {i}": each for i, each in enumerate(found)})
    assert len(figure.subfigs) == len(found)
    figures.show(figure, "alt", "caption")


@pytest.mark.parametrize(
    "found", [[paired("equal", 0, (0.4, 0.4))], [paired("single_step", 1, (0.4, 0.4), traces=SEEN)]]
)
def test_loss_ratios_without_a_trace_of_the_seed(found):
    figures.show(loss_ratios({"Here": found}), "alt", "caption")


def test_gradients_on_surfaces():
    # x² / 2 and -x², with a temporary step of 0.5
    surfaces = {
        title: {
            "x": np.linspace(-2, 2, 9),
            "loss": curvature * np.linspace(-2, 2, 9) ** 2 / 2,
            "start": start,
            "stepped": stepped,
            "start_loss": curvature * start**2 / 2,
            "stepped_loss": curvature * stepped**2 / 2,
            "start_gradient": curvature * start,
            "stepped_gradient": curvature * stepped,
        }
        for title, curvature, start, stepped in (("valley", 1, 1.5, 0.75), ("ridge", -2, 0.5, 1.0))
    }
    figure = figures.gradients_on_surfaces(surfaces)
    assert titles_of(figure) == ["valley", "ridge"]
    assert {axis.get_xlabel() for axis in figure.axes} == {"shared parameter"}
    assert [axis.get_ylabel() for axis in figure.axes] == ["task loss", ""]
    texts = [[text.get_text() for text in axis.texts] for axis in figure.axes]
    assert texts == [
        ["|gradient| before: 1.50", "|gradient| after: 0.75"],
        ["|gradient| before: 1.00", "|gradient| after: 2.00"],
    ]
    for axis, surface in zip(figure.axes, surfaces.values(), strict=True):
        curve, *others = axis.lines
        assert curve.get_xydata().tolist() == np.transpose([surface["x"], surface["loss"]]).tolist()
        low, high = axis.get_ylim()
        assert low < surface["loss"].min()
        assert high > surface["loss"].max()
        for name, tangent, point in zip(("start", "stepped"), others[::2], others[1::2], strict=True):
            place = (surface[name], surface[f"{name}_loss"])
            assert point.get_xydata().tolist() == [pytest.approx(place)]
            (x0, y0), (x1, y1) = tangent.get_xydata()
            assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx(place)
            assert (y1 - y0) / (x1 - x0) == pytest.approx(surface[f"{name}_gradient"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "before the temporary step",
        "after the temporary step",
    ]
    figures.show(figure, "alt", "caption")


# Weights drawn at random


def test_drawn_weights_are_shares_of_the_draws_in_bins_that_all_panels_share():
    draws = {"coins": np.array([0.0, 0.0, 0.0, 3.0]), "even": np.linspace(0.5, 1.5, 101)}
    figure = figures.drawn_weights(draws)
    coins, even = figure.axes
    assert titles_of(figure) == ["coins\nmean 0.75, sd 1.30", "even\nmean 1.00, sd 0.29"]
    assert coins.get_xlim() == even.get_xlim()
    heights = {round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height() for bar in coins.patches}
    assert {at: height for at, height in heights.items() if height} == {0: 0.75, 3: 0.25}
    for axis, weights in zip(figure.axes, draws.values(), strict=True):
        assert sum(bar.get_height() for bar in axis.patches) == pytest.approx(1)  # no draw falls outside
        assert axis.lines[0].get_xdata() == [weights.mean()] * 2
    figures.show(figure, "alt", "caption")


# Fingers: one network or several, and what they made of images

NETWORKS = {
    "joint": [("single_task", ["joint"])],
    "multi": [("equal", ["count", "hand"])],
    "separate": [("single_task", ["count"]), ("single_task", ["hand"])],
}


def learned(tasks, seed, losses, accuracies, method=None):
    """A record of a network for ``tasks`` with the test losses (T, E) and accuracies of the pair (E,)."""
    curves = {f"test/loss/{task}": curve for task, curve in zip(tasks, losses, strict=True)}
    return a_record(
        method=method or ("equal" if len(tasks) > 1 else "single_task"),
        seed=seed,
        parameters={"tasks": tasks},
        curves={**curves, "test/accuracy/pair": accuracies},
    )


LEARNED = [
    learned(["joint"], 0, [[2.0, 1.0]], [0.5, 0.7]),
    learned(["joint"], 1, [[8.0, 1.0]], [0.7, 0.7]),
    learned(["count", "hand"], 0, [[1.0, 0.5], [0.5, 0.25]], [0.8, 0.9]),
    learned(["count"], 0, [[1.0, 0.5]], [0.9, 0.9]),
    learned(["hand"], 0, [[2.0, 0.1]], [0.9, 0.9]),
    learned(["hand"], 1, [[9.0, 9.0]], [0.9, 0.9]),  # no count of that seed
    learned(["count", "hand"], 0, [[9.0, 9.0], [9.0, 9.0]], [0.0, 0.0], method="dwa"),
]


def convergence(groups):
    return figures.convergence(groups, NETWORKS, "pair", 0.99)


def test_convergence():
    figure = convergence({"Here": LEARNED, "There": LEARNED[:1]})
    assert titles_of(figure) == ["loss of the pair", "accuracy of the pair"] * 2
    loss, accuracy, other, _ = map(lines_of, figure.axes)
    assert loss == {  # geometric means over seeds
        "joint": pytest.approx([4.0, 1.0]),
        "multi": pytest.approx([1.5, 0.75]),
        "separate": pytest.approx([3.0, 0.6]),
    }
    # what two networks get right together is not known
    assert accuracy == {"joint": pytest.approx([0.6, 0.7]), "multi": pytest.approx([0.8, 0.9])}
    assert other == {"joint": pytest.approx([2.0, 1.0])}
    assert figure.axes[0].get_yscale() == "log"
    assert figure.axes[0].lines[0].get_xdata().tolist() == [1, 2]
    assert 0.99 in figure.axes[1].lines[-1].get_ydata()
    assert "99 %" in {text.get_text() for text in figure.axes[1].texts}
    (low, high), (worst, top) = (axis.get_ylim() for axis in figure.axes[:2])
    # whatever the band, which here reaches from below 0 to far above 1
    assert 0.3 < low < 0.6 < 4.0 < high < 8.0
    assert 0.5 < worst < 0.6 < 1.0 < top < 1.1
    band = figure.axes[1].collections[0].get_paths()[0].vertices
    assert np.ptp(band[band[:, 0] == 1, 1]) / 2 == pytest.approx(T_95 * 0.1)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(NETWORKS)
    looks = [line.get_color() for axis in figure.axes for line in axis.lines if line.get_label() == "multi"]
    assert len(looks) == 2
    assert len(set(looks)) == 1


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([], {}),
        ([learned(["joint"], 0, [[None]], [None])], {"joint": [math.nan]}),
        ([*LEARNED[:2], learned(["joint"], 2, [[None]], [None])], {"joint": [4.0, 1.0]}),
        ([*LEARNED[3:5], learned(["count"], 1, [[9.0, None]], [0.1, None])], {"separate": [math.sqrt(3 * 18), 0.6]}),
    ],
)
def test_convergence_of_diverged_and_missing_runs(found, expected):
    if "separate" in expected:
        found = [*found, LEARNED[5]]
    figure = convergence({"Here": found})
    drawn_losses = lines_of(figure.axes[0])
    assert drawn_losses == {label: pytest.approx(curve, nan_ok=True) for label, curve in expected.items()}
    figures.show(figure, "alt", "caption")


def test_images_that_are_marked_have_bold_titles():
    figure = figures.images(np.zeros((6, 2, 2, 1), dtype=np.uint8), list("abcdef"), marked={1, 5})
    bold = [axis.get_title() for axis in figure.axes if axis.title.get_fontweight() == "bold"]
    assert bold == ["b", "f"]
    assert len({axis.title.get_color() for axis in figure.axes if axis.get_title()}) == 2


# What networks say of every pixel

DENSE = {
    "truth": {
        "segmentation": np.array([[[0, 1], [-1, 2]], [[2, 2], [2, 2]]]),
        "depth": np.array([[[0, 1], [2, 3]], [[0, 0], [0, 0]]], dtype=np.float16),
        "normal": np.array([[[[0, 1], [0, 0]], [[0, 0], [1, 0]], [[0, 0], [0, -1]]]] * 2, dtype=np.float16),
    },
    "equal": {"segmentation": np.full((2, 2, 2), 12), "depth": np.full((2, 2, 2), 9.0)},
}
SEEN_BY = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)


def panels_of(figure):
    """The panels with an image: of each image in turn, the input, then line by line."""
    return [axis for axis in figure.axes if axis.images]


def colours_of(axis):
    return np.asarray(axis.images[0].get_array(), dtype=float)


def test_dense_has_a_line_a_source_and_a_column_a_task():
    figure = figures.dense(SEEN_BY, DENSE, [f"class {i}" for i in range(13)], "inverse depth (1/m)")
    panels = panels_of(figure)
    assert [axis.get_title() for axis in panels] == ["input", "segmentation", "depth", "normal", "", "", ""] * 2
    assert [axis.get_ylabel() for axis in panels if axis.get_ylabel()] == ["truth", "equal"] * 2
    for axis, image in zip(panels[::7], SEEN_BY, strict=True):
        assert colours_of(axis) == pytest.approx(image)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [*(f"class {i}" for i in range(13)), "none"]
    (bar,) = [axis for axis in figure.axes if axis.get_xlabel() == "inverse depth (1/m)"]
    assert bar.get_xlim()[0] <= 1.02
    assert bar.get_xlim()[1] >= 2.98
    figures.show(figure, "alt", "caption")


def test_dense_shows_classes_in_the_colours_of_the_legend_and_hatches_what_is_missing():
    figure = figures.dense(SEEN_BY, DENSE, ["a", "b", "c"])
    handles = {text.get_text(): patch for text, patch in zip(*figure_legend(figure), strict=True)}
    segmentation, depth, normal, other, *_ = panels_of(figure)[1:]
    shown = colours_of(segmentation)
    for name, place in (("a", (0, 0)), ("b", (0, 1)), ("c", (1, 1))):
        assert shown[place] == pytest.approx([*handles[name].get_facecolor()[:3], 1])
    assert len({handle.get_facecolor() for handle in handles.values()}) == 4
    # alpha of each pixel: the class of one, the depth of another and a normal are missing
    assert shown[..., 3].tolist() == [[1, 1], [0, 1]]
    assert colours_of(depth)[..., 3].tolist() == [[0, 1], [1, 1]]
    assert colours_of(normal)[..., 3].tolist() == [[0, 1], [1, 1]]
    assert segmentation.patch.get_hatch() == handles["none"].get_hatch() is not None
    assert colours_of(normal)[1, 0, :3] == pytest.approx([0.5, 1, 0.5])  # y = 1
    assert colours_of(normal)[1, 1, :3] == pytest.approx([0.5, 0.5, 0])  # z = -1
    assert len(np.unique(colours_of(other).reshape(-1, 4), axis=0)) == 1


def figure_legend(figure):
    (legend,) = figure.legends
    return legend.get_texts(), legend.get_patches()


def test_dense_has_one_scale_for_all_depths():
    near, far = np.array([[[1.0, 5.0]]]), np.array([[[5.0, 50.0]]])
    figure = figures.dense(np.zeros((1, 1, 2, 3), dtype=np.uint8), {"a": {"depth": near}, "b": {"depth": far}}, [])
    _, first, second = (colours_of(axis) for axis in panels_of(figure))
    # What is beyond the first source's range has the colour of its end.
    assert first[0, 1] == pytest.approx(second[0, 0])
    assert second[0, 1] == pytest.approx(second[0, 0])
    assert first[0, 0] != pytest.approx(first[0, 1])


def test_dense_takes_the_scale_from_the_first_source_that_knows_any_depth():
    unknown, guess = np.zeros((1, 1, 2)), np.array([[[2.0, 4.0]]])
    rows = {"truth": {"depth": unknown}, "equal": {"depth": guess}}
    figure = figures.dense(np.zeros((1, 1, 2, 3), dtype=np.uint8), rows, [], "depth (m)")
    (bar,) = [axis for axis in figure.axes if axis.get_xlabel() == "depth (m)"]
    assert bar.get_xlim() == pytest.approx((2.02, 3.98))


def test_dense_says_where_there_is_nothing_to_show():
    figure = figures.dense(SEEN_BY, DENSE, ["a", "b", "c"])
    says = [bool(axis.texts and axis.texts[0].get_text() == "none") for axis in panels_of(figure)]
    # of the second source, the normals; and of the second image's truth, the depths
    assert says == [False] * 6 + [True] + [False] * 2 + [True] + [False] * 3 + [True]


def test_dense_leaves_out_a_task_that_no_source_has():
    rows = {"truth": {"segmentation": DENSE["truth"]["segmentation"]}, "equal": {}}
    titles = titles_of(figures.dense(SEEN_BY, rows, ["a", "b", "c"]))
    assert titles == ["input", "segmentation", ""] * 2


def test_dense_across_has_a_line_an_image_and_a_column_for_what_any_image_has():
    nothing = {"segmentation": np.full((2, 2, 2), -1)}
    figure = figures.dense_across(SEEN_BY, DENSE | {"unlabelled": nothing}, ["a", "b", "c"], "depth (m)")
    panels = panels_of(figure)
    titles = ["input", "segmentation\ntruth", "segmentation\nequal", "depth\ntruth", "depth\nequal", "normal\ntruth"]
    assert [axis.get_title() for axis in panels] == titles + [""] * 6
    for axis, image in zip(panels[::6], SEEN_BY, strict=True):
        assert colours_of(axis) == pytest.approx(image)
    # the same colours, and the same hatching, as with a line a source
    other = panels_of(figures.dense(SEEN_BY, DENSE, ["a", "b", "c"], "depth (m)"))
    truth = {"segmentation": (1, 8), "depth": (2, 9), "normal": (3, 10)}
    for axis, (task, places) in zip((panels[1], panels[3], panels[5]), truth.items(), strict=True):
        assert colours_of(axis) == pytest.approx(colours_of(other[places[0]])), task
    assert [bool(axis.texts) for axis in panels] == [False] * 9 + [True] + [False] * 2  # the second image has no depth
    (bar,) = [axis for axis in figure.axes if axis.get_xlabel() == "depth (m)"]
    assert bar.get_xlim()[1] >= 2.98
    figures.show(figure, "alt", "caption")


def test_dense_draws_a_diverged_network_and_no_known_depth():
    nothing = {"depth": np.zeros((2, 2, 2)), "normal": np.full((2, 3, 2, 2), np.nan)}
    broken = {"depth": np.full((2, 2, 2), np.nan), "normal": np.full((2, 3, 2, 2), np.inf)}
    figure = figures.dense(SEEN_BY, {"truth": nothing, "equal": broken}, [])
    assert sum(bool(axis.texts) for axis in panels_of(figure)) == 8
    figures.show(figure, "alt", "caption")
