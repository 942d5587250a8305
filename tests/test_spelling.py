"""Prose is spelt as in Britain: pages, the notebooks' text, docstrings.

Hunspell's dictionary is American, and codespell has the pairs of words that differ. So a word is right that the
dictionary has, unless it is the American one of a pair; and so is the British one. Words of the field and names are in
``book/dictionary.txt``, one a line.
"""

import ast
import importlib.resources
import json
import re
from functools import cache
from pathlib import Path

import hunspell
import pytest

ROOT = Path(__file__).parents[1]
DICTIONARY = ROOT / "book" / "dictionary.txt"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md"))]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MODULES = sorted((ROOT / "mtlutils").rglob("*.py"))

NOT_PROSE = [
    r"(?m)^:\w+:.*$|^\([\w-]+\)=$",  # a directive's options, the name of a place
    r"(?ms)^(>>>|\.\. math::).*?(?=\n\S|\Z)",
    r":\w+:`[^`]*`|\{[\w:]+\}`[^`]*`|(`+).+?\1",  # roles and code
    r"(?s)\$\$.*?\$\$|\$[^$]+\$",
    r"(?s)\]\([^)]*\)|<[^>]*>|\{[.#][^}]*\}",  # addresses, tags, attributes
    r"https?://\S+|\S+@\S+|\\\w+|&\w+;",
    r"(?s)(?<!\*)\*[^*\s](?:[^*]*[^*\s])?\*(?=[,)])",  # titles, which are spelt as they are
]
FENCED = re.compile(r"(?ms)^( *)(```+)([^\n]*)\n(.*?)^\1\2 *$")
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
# Endings of words that Britain spells with an s; codespell's pairs are those of the commonest.
IZE = re.compile(r"(?<=[^\W\d_]{3})(i|y)z(?=(e|ed|er|ers|es|ing|ation|ations|ational)$)")
ISE = re.compile(r"(?<=[^\W\d_]{3})(i|y)s(?=(e|ed|er|ers|es|ing|ation|ations|ational)$)")


@cache
def pairs() -> dict[str, str]:
    """American word -> British word."""
    lists = importlib.resources.files("codespell_lib") / "data" / "dictionary_en-GB_to_en-US.txt"
    lines = lists.read_text(encoding="utf-8").splitlines()
    return {american: british for british, _, american in (line.partition("->") for line in lines)}


@cache
def of_the_field() -> set[str]:
    return {line.strip() for line in DICTIONARY.read_text(encoding="utf-8").splitlines() if line.strip()}


@cache
def speller() -> hunspell.Hunspell:
    return hunspell.Hunspell("en_US")


def known(word: str) -> bool:
    try:
        return speller().spell(word)
    except UnicodeEncodeError:  # not in the dictionary's alphabet
        return False


@cache
def wrong(word: str) -> str:
    """What is wrong with a word, whether or not it is one of the field's; empty if nothing."""
    low = word.lower()
    if low in pairs():
        return f"{word}: in Britain {pairs()[low]}"
    if IZE.search(low) and known(low):
        return f"{word}: in Britain " + IZE.sub(r"\1s", low)
    british = low in pairs().values() or known(ISE.sub(r"\1z", low))
    return "" if british or known(word) else f"{word}: not a word"


def mistakes(text: str) -> list[str]:
    text = FENCED.sub(lambda block: block[3] + "\n" + block[4] if "table}" in block[3] else "", text)
    for pattern in NOT_PROSE:
        text = re.sub(pattern, " ", text)
    words = {word.replace("’", "'").removesuffix("'s") for word in WORD.findall(text)}
    own = {word for word in words if len(word) == 1 or {word, word.lower()} & of_the_field()}
    return sorted(filter(None, map(wrong, words - own)))


def docstrings(path: Path) -> str:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, documented)]
    texts = [ast.get_docstring(node) or "" for node in nodes]
    # An attribute's docstring is a statement of its own.
    bodies = [statement for node in nodes for statement in node.body[1:] if isinstance(statement, ast.Expr)]
    texts += [each.value.value for each in bodies if isinstance(each.value, ast.Constant) and each.value.value != ...]
    # The names before the colons, of arguments and errors, are code.
    return "\n\n".join(re.sub(r"(?m)^\s*\w+: ", "", text) for text in texts)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_page(page):
    assert mistakes(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(notebook):
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert mistakes("\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")) == []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT / "mtlutils")))
def test_docstrings(module):
    assert mistakes(docstrings(module)) == []


def test_mistakes_are_found():
    text = (
        "The *optimizer* normalizes a colur. The behaviour of `color` and $\\center$ (*Deep modeling*), Adam's colours"
    )
    assert mistakes(text) == [
        "colur: not a word",
        "normalizes: in Britain normalises",
        "optimizer: in Britain optimiser",
    ]


def test_dictionary_is_sorted_and_has_what_it_must_have():
    words = DICTIONARY.read_text(encoding="utf-8").splitlines()
    assert words == sorted(set(words), key=lambda word: (word.lower(), word))
    assert not [word for word in words if not wrong(word)]
