"""Balancing methods by name."""

from __future__ import annotations

import math
import pkgutil
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import yaml

from mtlutils.errors import InputError

if TYPE_CHECKING:
    from mtlutils.balancing.balancer import Balancer

    Method = Callable[..., Balancer]

# Where each method is, rather than the method: listing them, as reports do, then needs no torch.
_METHODS: dict[str, str | Method] = {
    "adaptive": "mtlutils.balancing.adaptive:Adaptive",
    "dwa": "mtlutils.balancing.dwa:DWA",
    "equal": "mtlutils.balancing.equal:Equal",
    "gradnorm": "mtlutils.balancing.gradnorm:GradNorm",
    "pareto_mtl": "mtlutils.balancing.pareto_mtl:ParetoMTL",
    "revised_uncertainty": "mtlutils.balancing.revised_uncertainty:RevisedUncertainty",
    "rlw": "mtlutils.balancing.rlw:RLW",
    "single_step": "mtlutils.balancing.single_step:SingleStep",
    "split_only": "mtlutils.balancing.split_only:SplitOnly",
    "uncertainty": "mtlutils.balancing.uncertainty:Uncertainty",
}


def register(name: str, method: str | Method) -> None:
    """Make a method known by name.

    Args:
        name: A lower-case identifier that no other method has.
        method: A subclass of ``Balancer``, or where to import it from, ``"package.module:Class"``. It is called with
            ``n_tasks`` and its options.

    Raises:
        InputError: the name is taken, or is not a lower-case identifier.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"a method's name is a lower-case identifier, got {name!r}")
    if _METHODS.get(name, method) != method:
        raise InputError(f"there is another method called {name!r}; choose another name")
    _METHODS[name] = method


def names() -> list[str]:
    """Return the name of every registered method, sorted."""
    return sorted(_METHODS)


def parse(method: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name"`` or ``"name(option=value, ...)"``, values as in YAML, into a name and its options.

    ``"name(option: value)"`` is the same; papermill knows no parameter whose line in a notebook has two equals signs.

    Raises:
        InputError: the text has another form.
    """
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", str(method))  # a parameter file may hold anything
    inside = (match[2] or "") if match else ""
    flow, n_options = re.subn(r"(^|,)\s*([^\W\d]\w*)\s*(?:=|:(?=\s))", r'\1 "\2": ', inside)
    try:
        options: dict[str, Any] | None = yaml.safe_load(f"{{{flow}}}")
    except yaml.YAMLError:
        options = None
    if not match or options is None or len(options) != n_options:
        raise InputError(
            f"{method!r} is not a method; write name or name(option=value, ...), as in adaptive(detach=false)"
        )
    return match[1], options


def label(name: str, options: dict[str, Any]) -> str:
    """Write a method the one way it is written in records: the inverse of :func:`parse`, options sorted."""
    # A flow sequence of one, without its brackets: on one line, and quoted where a comma would end the value.
    values = {
        option: yaml.safe_dump([value], default_flow_style=True, width=math.inf).rstrip()[1:-1]
        for option, value in sorted(options.items())
    }
    inside = ", ".join(f"{option}={value}" for option, value in values.items())
    return f"{name}({inside})" if inside else name


def create(method: str, n_tasks: int, **options: Any) -> Balancer:
    """Create a balancer.

    Args:
        method: A registered name, with options in brackets if any: ``"dwa"``, ``"dwa(temperature=1.0)"``.
        n_tasks: Number of tasks T.
        options: Further options of the method.

    Raises:
        InputError: an unknown method, or an option that it does not take or accept.
    """
    name, written = parse(method)
    if name not in _METHODS:
        raise InputError(f"unknown balancing method {name!r}; there are: {', '.join(names())}")
    method_or_place = _METHODS[name]
    known = pkgutil.resolve_name(method_or_place) if isinstance(method_or_place, str) else method_or_place
    try:
        return known(n_tasks, **written, **options)
    except (TypeError, ValueError, RuntimeError) as error:  # RuntimeError: PyTorch refuses a size
        raise InputError(f"{method}: {error}") from error
