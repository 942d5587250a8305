"""Tables of parameters: what papermill reads -> a page; and the cell that installs the project on Colab."""

import ast
import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from mtlutils import forms
from mtlutils.errors import InputError

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture
def notebook(tmp_path):
    """Writes a notebook with these lines as its cell of parameters, and with what papermill set in their place."""

    def made(*lines, injected=None):
        cells = [("markdown", "# Title", []), ("code", "\n".join(lines), ["parameters"])]
        cells += [("code", injected, ["injected-parameters"])] * (injected is not None)
        cells += [("code", "print(1)", [])]
        code = {"execution_count": None, "outputs": []}
        content = {
            "cells": [
                {"cell_type": kind, "id": str(i), "metadata": {"tags": tags}, "source": source}
                | (code if kind == "code" else {})
                for i, (kind, source, tags) in enumerate(cells)
            ],
            "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        path = tmp_path / "made.ipynb"
        path.write_text(json.dumps(content))
        return path

    return made


def ids(path):
    return [cell["id"] for cell in json.loads(path.read_text())["cells"]]


def test_parameters(notebook):
    path = notebook(
        "# fmt: off",
        'name: str = "a \'b\'"  # what it is called; "c"',
        "n: int = None  # how many; None: all",
        "rate: float = 1e-05  # steps",
        "augment: bool = True  # whether",
        "sizes: list = ['é', 0.10, None]  # height, width; null: as published",
    )
    found = forms.parameters(path)
    assert [(each.name, each.type, each.literal, each.text, each.nullable) for each in found] == [
        ("name", "str", "\"a 'b'\"", "a 'b'", False),
        ("n", "int", "None", "None", True),
        ("rate", "float", "1e-05", "1e-05", False),
        ("augment", "bool", "True", "True", False),
        ("sizes", "list", "['é', 0.10, None]", '["é", 0.1, null]', True),
    ]
    assert found[0].help == 'what it is called; "c"'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("n: int = 1.0  # rows", r"made\.ipynb: n: the default 1\.0 is not of the type int"),
        ("n: int = True  # rows", "the default True is not of the type int"),
        ("n: int = 2 * 3  # rows", r"the default 2 \* 3 is not a literal"),
        ("n: dict = {}  # rows", "no form knows the type dict; use int, float"),
        ("n = 1  # rows", "no form knows the type None"),
        ("# nothing", "papermill finds no parameters"),
    ],
)
def test_parameters_of_which_no_form_can_be_made(line, says, notebook):
    with pytest.raises(InputError, match=says):
        forms.parameters(notebook(line))


def test_fragment_is_a_complete_table_of_escaped_text(notebook):
    fragment = forms.fragment(notebook('a: str = "<b>&"  # x < y', "n: int = None  # None: all"))
    assert "\n\n" not in fragment  # which would end the HTML in Markdown
    table = BeautifulSoup(fragment, "html.parser").table
    assert [cell.text for cell in table.tbody.select("th, td")] == [
        *("a", "str", '"<b>&"', "x < y"),
        *("n", "int", "None", "None: all"),
    ]
    assert [row["data-default"] for row in table.tbody.select("tr")] == ["<b>&", "None"]
    assert ["data-nullable" in row.attrs for row in table.tbody.select("tr")] == [False, True]
    assert table.caption.text == "What papermill notebooks/made.ipynb out.ipynb takes"


def test_table_stands_below_what_papermill_set(notebook):
    path = notebook("n: int = 1  # rows", injected="# Parameters\nn = 2")
    forms.main([str(path.parent)])
    assert ids(path) == ["0", "1", "2", forms.CELL, "3"]
    once = path.read_text()
    forms.main([str(path.parent)])
    assert path.read_text() == once
    assert "<code>1</code>" in forms.fragment(path)  # the notebook's default, whatever it was executed with


def test_table_stands_below_the_parameters_where_papermill_set_none(notebook):
    path = notebook("n: int = 1  # rows")
    forms.write(path)
    assert ids(path) == ["0", "1", forms.CELL, "2"]


def test_mistakes_end_with_a_line(notebook, tmp_path):
    with pytest.raises(SystemExit, match=r"mtlutils\.forms: .*empty: holds no notebooks"):
        forms.main([str(tmp_path / "empty")])
    with pytest.raises(SystemExit, match="is not of the type"):
        forms.main([str(notebook("n: int = 1.0  # rows").parent)])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_has_a_table_of_all_its_parameters(path, tmp_path):
    copy = Path(shutil.copy(path, tmp_path))
    forms.write(copy)
    cells = {cell["id"]: cell for cell in json.loads(copy.read_text())["cells"]}
    names = [th.text for th in BeautifulSoup(cells[forms.CELL]["source"], "html.parser").select("tbody th")]
    (cell,) = (cell for cell in cells.values() if "parameters" in cell["metadata"].get("tags", []))
    assert names == [each.target.id for each in ast.parse("".join(cell["source"])).body]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_first_code_cell_installs_on_colab_alone(path):
    cells = json.loads(path.read_text())["cells"]
    first = next(cell for cell in cells if cell["cell_type"] == "code")
    assert first["metadata"]["tags"] == ["remove-cell"]  # no page needs it
    source = "".join(first["source"])
    condition = 'import sys\n\nif "google.colab" in sys.modules:'
    assert source.startswith(condition)
    assert all(line.startswith("    ") for line in source.removeprefix(condition).splitlines()[1:])
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert f"git clone --quiet --depth 1 {repository} " in source
    pins = {word.strip('"') for word in source.split() if "==" in word}
    assert pins
    assert pins <= set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
