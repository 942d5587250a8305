# Figures


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


def test_at_most_three_panels_stand_side_by_side():
    curves = {f"test/loss/{task}": [2.0, 1.0] for task in "abcde"}
    found = [a_record(parameters={"tasks": list("abcde")}, curves=curves, seed=seed) for seed in (0, 1)]
    figure = figures.loss_curves({"Here": found, "There": found}, list("abcde"))
    assert [axis.get_title() for axis in figure.axes] == [*"abcde", "sum"] * 2
    columns = [axis.get_subplotspec().colspan.start for axis in figure.axes]
    assert columns == [0, 1, 2] * 4
    assert [bool(axis.get_ylabel()) for axis in figure.axes] == [column == 0 for column in columns]
    plt.close(figure)


def test_images_have_their_titles():
    figure = figures.images(np.zeros((7, 4, 4, 3), dtype=np.uint8), list("abcdefg"))
    assert [axis.get_title() for axis in figure.axes if axis.images] == list("abcdefg")
    plt.close(figure)


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


