"""A notebook's parameters, as papermill reads them -> the table on its page, which a script turns into a form.

``python -m mtlutils.forms FOLDER`` puts the table into every executed notebook of a folder.
"""

import argparse
import ast
import html
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from papermill import inspect_notebook

from mtlutils.errors import InputError

CELL = "parameter-form"
"""Id of the cell that holds the table."""

_TYPES = {"int": int, "float": float, "str": str, "bool": bool, "list": list}
_HEADER = ["Parameter", "Type", "Default", "Meaning"]


@dataclass(frozen=True)
class Parameter:
    """A parameter of a notebook.

    Attributes:
        name: Its name.
        type: ``"int"``, ``"float"``, ``"str"``, ``"bool"`` or ``"list"``.
        literal: Its default, as the notebook has it.
        text: Its default, as a reader types it: a string without quotes, a list as JSON.
        help: What it means, in one line.
        nullable: Whether None is allowed: it is the default, or the help says what it means.
    """

    name: str
    type: str
    literal: str
    text: str
    help: str
    nullable: bool


def parameters(notebook: Path) -> list[Parameter]:
    """List a notebook's parameters, in its order.

    Raises:
        InputError: papermill does not find the parameters, or the default of one is not of its type.
    """
    found = inspect_notebook(str(notebook)).values()
    if not found:
        raise InputError(f"{notebook.name}: papermill finds no parameters; write them in a cell tagged `parameters`")
    return [_parameter(notebook.name, **each) for each in found]


def fragment(notebook: Path) -> str:
    """Return the table of a notebook's parameters, folded up, as HTML; a script turns it into a form.

    It has no blank line, which would end it in Markdown. Links and the notebook's path are those of the book.

    Args:
        notebook: File below any folder; papermill's command names it below ``notebooks``.

    Raises:
        InputError: see :func:`parameters`.
    """
    path = html.escape(f"notebooks/{notebook.name}")
    head = "".join(f'<th scope="col">{name}</th>' for name in _HEADER)
    return "\n".join(
        [
            '<details class="parameters">',
            "<summary>Rerun this chapter with your own parameters</summary>",
            '<p>The defaults are those of the profile <code>smoke</code>. <a href="../book/rerun.html">Rerun it '
            "yourself</a> says how to set the project up and how to give the parameters.</p>",
            '<div class="table-box" tabindex="0">',
            f'<table class="reference" data-notebook="{path}"><caption>What <code>papermill {path} out.ipynb</code> '
            "takes</caption>",
            f"<thead><tr>{head}</tr></thead>",
            "<tbody>",
            *map(_row, parameters(notebook)),
            "</tbody></table>",
            "</div>",
            "</details>",
        ]
    )


def write(notebook: Path) -> None:
    """Put the table of a notebook's parameters below their cell, and below what papermill set in their place.

    Raises:
        InputError: see :func:`parameters`.
    """
    content = json.loads(notebook.read_text(encoding="utf-8"))
    cells = [cell for cell in content["cells"] if cell.get("id") != CELL]
    of_parameters = {"parameters", "injected-parameters"}
    tagged = [i for i, cell in enumerate(cells) if of_parameters & set(cell["metadata"].get("tags", []))]
    form = {"cell_type": "markdown", "id": CELL, "metadata": {}, "source": fragment(notebook)}
    cells.insert(tagged[-1] + 1, form)
    text = json.dumps(content | {"cells": cells}, indent=1, ensure_ascii=False)
    notebook.write_text(f"{text}\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Put the table of its parameters into every notebook of the folder that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m mtlutils.forms", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="folder of executed notebooks, which are changed in place")
    folder = parser.parse_args(arguments).folder
    try:
        notebooks = sorted(folder.glob("*.ipynb"))
        if not notebooks:
            raise InputError(f"{folder}: holds no notebooks")
        for notebook in notebooks:
            write(notebook)
    except InputError as error:
        sys.exit(f"mtlutils.forms: {error}")


def _parameter(notebook: str, name: str, inferred_type_name: str, default: str, help: str) -> Parameter:
    where, kind = f"{notebook}: {name}", _TYPES.get(inferred_type_name)
    if kind is None:
        raise InputError(f"{where}: no form knows the type {inferred_type_name}; use {', '.join(_TYPES)}")
    try:
        value = ast.literal_eval(default)
    except (ValueError, SyntaxError) as error:
        raise InputError(f"{where}: the default {default} is not a literal; write one, on one line") from error
    if value is not None and type(value) is not kind:
        raise InputError(f"{where}: the default {default} is not of the type {inferred_type_name}; change one of them")
    text = default
    if isinstance(value, str):
        text = value
    elif isinstance(value, list):
        text = json.dumps(value, ensure_ascii=False)
    nullable = value is None or re.search(r"\b(None|null):", help) is not None
    return Parameter(name, inferred_type_name, default, text, help, nullable)


def _row(parameter: Parameter) -> str:
    about = f'data-type="{parameter.type}" data-default="{html.escape(parameter.text)}"'
    if parameter.nullable:
        about += " data-nullable"
    cells = [
        f'<th scope="row"><code>{parameter.name}</code></th>',
        f"<td>{parameter.type}</td>",
        f"<td><code>{html.escape(parameter.literal)}</code></td>",
        f"<td>{html.escape(parameter.help, quote=False)}</td>",
    ]
    return f"<tr {about}>{''.join(cells)}</tr>"


if __name__ == "__main__":
    main()
