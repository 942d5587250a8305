"""Experiments by name."""

import importlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mtlutils.errors import InputError
from mtlutils.experiments.experiment import Experiment, Run

_SHARED = {"__init__", "dense", "estimate", "experiment", "registry"}


def names() -> list[str]:
    """Return the names of all experiments, which are those of their files."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _SHARED)


@cache
def load(name: str) -> Experiment:
    """Return the experiment called ``name``.

    Raises:
        InputError: there is none.
    """
    if name not in names():
        raise InputError(f"unknown experiment {name!r}; there are: {', '.join(names())}")
    experiment: Experiment = importlib.import_module(f"mtlutils.experiments.{name}").experiment
    return experiment


def plan(notebook: str, parameters: Mapping[str, Any]) -> list[Run]:
    """List every run that a notebook asks for, given its parameters (see :meth:`Experiment.plan_notebook`)."""
    return load(notebook).plan_notebook(parameters)
