"""The parts of the pages for newcomers: the primer's figures, and the index of methods."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mtlutils import balancing, figures, method_index

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def test_paths_end_where_they_are_marked():
    paths = {"a": np.array([[0.0, 1.0], [0.5, 0.0]]), "b": np.array([[0.0, 1.0], [-0.5, 0.2]])}
    figure = figures.descents({"left": paths, "right": paths}, np.array([[-1.0, 0.0], [1.0, 0.0]]))
    for axis, title in zip(figure.axes, ("left", "right"), strict=True):
        assert axis.get_title() == title
        ends = [line.get_xydata()[0].tolist() for line in axis.lines if len(line.get_xydata()) == 1]
        assert ends == [[0.5, 0.0], [-0.5, 0.2]]
    assert [text.get_text() for text in figure.legends[0].texts] == ["a", "b"]


def shaded(gradients):
    """The corners of the shaded triangle."""
    figure = figures.combinations(np.array(gradients), {"sum": np.array(gradients).sum(axis=0)})
    (axis,) = figure.axes
    return [patch.get_xy()[1:3] for patch in axis.patches]


@pytest.mark.parametrize("gradients", [[[3.0, 0.0], [-1.0, 1.0]], [[1.0, 2.0], [2.0, 0.5]], [[0.0, -1.0], [1.0, 0.0]]])
def test_shaded_are_the_directions_in_which_no_loss_rises(gradients):
    (corners,) = shaded(gradients)
    products = corners @ np.array(gradients).T
    # Both edges are at a right angle to one of the gradients, and between them no product is negative.
    np.testing.assert_allclose(np.sort(products, axis=1)[:, 0], 0, atol=1e-9)
    assert (corners.sum(axis=0) @ np.array(gradients).T > 0).all()


def test_each_seed_and_the_mean_are_drawn():
    figure = figures.per_seed({"a": [1.0, 3.0], "b": [2.0]}, "change")
    (axis,) = figure.axes
    assert axis.get_xlabel() == "change"
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    drawn = [list(line.get_xdata()) for line in axis.lines]
    assert [1.0, 3.0] in drawn
    assert [2.0] in drawn  # the mean of a, and b
    (bar, _) = axis.containers
    assert list(bar.lines[0].get_xdata()) == [2.0]


def test_index_has_every_method_with_its_code_and_its_chapters():
    rows = {row[0]: row[1:] for row in method_index.rows()}
    assert list(rows) == [f"[`{name}`](#method-{name})" for name in balancing.names()]
    summary, family, paper, passes, tested, code, chapters = rows["[`dwa`](#method-dwa)"]
    assert summary.startswith("Weights by how slowly each loss falls: $w_t = T")
    assert (family, paper, passes) == ("losses", "{cite:t}`liu2019`", "none")
    assert "by hand" in tested
    assert code.startswith("[`DWA`](https://github.com/") and code.endswith("/mtlutils/balancing/dwa.py)")
    assert "(../notebooks/adaptive_agnews.ipynb)" in chapters
    assert "adaptive_agnews" not in rows["[`single_step`](#method-single_step)"][-1]
    # There it is the name of a grouping.
    assert "adaptive_cifar100" not in rows["[`random`](#method-random)"][-1]


def test_code_of_the_index_is_there():
    paths = [re.search(r"/blob/main/([^)]+)\)", row[6])[1] for row in method_index.rows()]
    assert all((ROOT / path).is_file() for path in paths)


def test_method_from_outside_is_in_the_index_without_what_is_not_known(monkeypatch):
    from mtlutils.balancing import registry

    monkeypatch.setattr(registry, "_METHODS", {"own": "somewhere.else:Own"})
    assert method_index.rows() == [["`own`", *["–"] * 7]]


def test_index_has_a_cell_for_every_heading():
    assert {len(row) for row in method_index.rows()} == {len(method_index.HEADER)}


@pytest.mark.parametrize("page", ["methods.md", "notation.md"])
def test_places_of_methods_that_pages_name_are_there(page):
    named = set(re.findall(r"\(#method-([\w-]+)\)", (ROOT / "book" / page).read_text()))
    there = set(re.findall(r"^\(method-([\w-]+)\)=$", (ROOT / "book" / "methods.md").read_text(), re.MULTILINE))
    assert named
    assert named <= there
    assert set(balancing.names()) <= there
