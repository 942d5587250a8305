"""Profiles: a notebook's parameters, kept in ``profiles/PROFILE/NOTEBOOK.yml``."""

from collections.abc import Mapping
from typing import Any

import yaml

from mtlutils import folders, yaml12
from mtlutils.errors import InputError


def parameters(profile: str, notebook: str) -> dict[str, Any] | None:
    """Return a notebook's parameters in a profile; None where it has none.

    Raises:
        InputError: the file is not valid YAML, or no mapping.
    """
    path = folders.project() / "profiles" / profile / f"{notebook}.yml"
    if not path.is_file():
        return None
    try:
        found = yaml12.load(path.read_text())
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: holds no parameters, but {found!r}")
    return found


def of_study(parameters: Mapping[str, Any], study: str) -> dict[str, Any]:
    """Return the parameters of one of a notebook's studies, which are further runs beside its main ones.

    A parameter called ``STUDY_NAME`` takes the place of the one called ``NAME``: ``sweep_seeds`` are the ``seeds`` of
    the study ``sweep``. The study ``""`` is the main runs. ``"A.B"`` is study B within study A.
    """
    found = dict(parameters)
    for part in filter(None, study.split(".")):
        prefix = f"{part}_"
        found |= {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}
    return found


def listed(value: Any) -> Any:
    """Return a list that stands in a text, as papermill's -p hands it over, read as YAML; anything else as it is.

    Raises:
        InputError: the text begins like a list, and is none.
    """
    if not (isinstance(value, str) and value.lstrip().startswith("[")):
        return value
    try:
        return yaml12.load(value)
    except yaml.YAMLError as error:
        raise InputError(f"{value!r} is not a list as YAML writes it") from error
