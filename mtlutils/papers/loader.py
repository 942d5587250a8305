"""The loader of the papers' YAML files."""

from pathlib import Path

import yaml
from pydantic import ValidationError

from mtlutils import yaml12
from mtlutils.errors import InputError
from mtlutils.papers.paper import Paper


def names() -> list[str]:
    """Return the names of the papers that can be loaded."""
    return sorted(path.stem for path in _folder().glob("*.yml"))


def every() -> list[Paper]:
    """Load every paper: first those that we had the text of, then those that we had the abstract of, each by name.

    Raises:
        InputError: a file is broken.
    """
    return sorted(map(load, names()), key=lambda paper: paper.abstract_only)


def load(name: str) -> Paper:
    """Load a paper by its name.

    Raises:
        InputError: there is no such paper, or its file is broken.
    """
    if name not in names():
        raise InputError(f"unknown paper {name!r}; known: {', '.join(names())}")
    return read(_folder() / f"{name}.yml")


def read(path: Path) -> Paper:
    """Read and validate one paper's file.

    Raises:
        InputError: the file cannot be read, is not YAML, or is not a complete paper; names the file and the place.
    """
    try:
        content = yaml12.load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error})") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    try:
        paper = Paper.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        more = f"; {error.error_count() - 1} more" if error.error_count() > 1 else ""
        raise InputError(f"{path}: {where + ': ' if where else ''}{first['msg']}{more}") from error
    if paper.key != path.stem:
        raise InputError(f"{path}: key is {paper.key!r}; it must be the file's name, {path.stem!r}")
    return paper


def _folder() -> Path:
    return Path(__file__).resolve().parent
