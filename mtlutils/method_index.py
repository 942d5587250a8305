"""The registry of balancing methods -> the rows of their index in the book, without importing any of them."""

import ast
import json
import re
import tomllib
from pathlib import Path
from typing import Any

from mtlutils import balancing, folders, yaml12

CAPTION = "Balancing methods by name, which leads to the formula. Chapters are those that train with the method."
NOTE = "Made from the registry, which `python -m mtlutils methods` prints, and from the parameters of the notebooks."
HEADER = ["Method", "What it does", "Family", "Paper", "Extra passes", "Tested against", "Code", "Chapters"]


def rows() -> list[list[str]]:
    """Return a row of MyST cells for each registered method, as :data:`HEADER` names them.

    What a method does is the first line of its class's docstring. Its chapters are the notebooks whose parameters name
    it, in the notebook itself or in a profile.
    """
    project = tomllib.loads((folders.project() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    chapters = {notebook: _methods_of(notebook) for notebook in sorted(folders.project().glob("notebooks/*.ipynb"))}
    made = []
    for method in balancing.methods():
        place, _, name = method.where.partition(":")
        file = folders.project() / f"{place.replace('.', '/')}.py"
        address = f"{project['urls']['Repository']}/blob/main/{file.relative_to(folders.project())}"
        links = [f"[{n.stem}](../notebooks/{n.name})" for n, named in chapters.items() if method.name in named]
        made.append(
            [
                f"[`{method.name}`](#method-{method.name})" if method.paper else f"`{method.name}`",
                _summary(file, name),
                method.family or "–",
                f"{{cite:t}}`{method.paper}`" if method.paper else "–",
                method.passes or "–",
                method.tested or "–",
                f"[`{name}`]({address})" if file.is_file() else "–",
                ", ".join(links) or "–",
            ]
        )
    return made


def _summary(file: Path, name: str) -> str:
    """Return the first line of a class's docstring, its maths in dollars."""
    if not file.is_file():  # a method from outside
        return "–"
    body = ast.parse(file.read_text(encoding="utf-8")).body
    docstrings = (ast.get_docstring(node) for node in body if isinstance(node, ast.ClassDef) and node.name == name)
    first = (next(docstrings, None) or "–").split("\n\n")[0]
    return re.sub(r":math:`([^`]*)`", r"$\1$", first)


def _methods_of(notebook: Path) -> set[str]:
    """Return every method that a notebook's parameters name: those called ``methods``, or a study's ``..._methods``."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    parameters: dict[str, Any] = {}
    for cell in cells:
        if "parameters" in cell["metadata"].get("tags", []):
            for each in ast.parse("".join(cell["source"])).body:
                if isinstance(each, ast.AnnAssign) and each.value is not None:
                    parameters[f"notebook/{ast.unparse(each.target)}"] = ast.literal_eval(each.value)
    for profile in folders.project().glob(f"profiles/*/{notebook.stem}.yml"):
        values = yaml12.load(profile.read_text(encoding="utf-8"))
        parameters |= {f"{profile.parent.name}/{name}": value for name, value in values.items()}
    named = [value for name, value in parameters.items() if name.endswith(("/methods", "_methods"))]
    return {balancing.parse(method)[0] for methods in named for method in methods}
