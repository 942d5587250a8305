"""Whether a method's options are of the types that its constructor declares."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, Unpack, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

# Strict, or else true would be 1, and "maybe" a switch.
_CONFIG = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

_WORDS = {
    float: ("a finite number", "finite numbers"),
    int: ("a whole number", "whole numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    NoneType: ("null", "null"),
}
"""Type -> what to call one value, and several."""


def check(method: Callable[..., object], options: Mapping[str, Any]) -> None:
    """Check that options are of the declared types, and numbers finite; what declares no type may be anything.

    Raises:
        ValueError: one is not; says its name, what is allowed, and what was given.
    """
    declared = _declared(method)
    for name in [name for name in options if name in declared]:
        try:
            TypeAdapter(declared[name], config=_CONFIG).validate_python(options[name])
        except ValidationError as error:
            raise ValueError(f"{name} must be {_allowed(declared[name])}, got {options[name]!r}") from error


def _declared(method: Callable[..., object]) -> dict[str, Any]:
    """Option -> type."""
    try:
        parameters = inspect.signature(method, eval_str=True).parameters.values()
    except NameError:  # a type that is imported for a type checker alone
        return {}
    found = {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY or p.kind is p.POSITIONAL_OR_KEYWORD}
    for parameter in parameters:
        if get_origin(parameter.annotation) is Unpack:
            found |= get_type_hints(*get_args(parameter.annotation))
    return {name: declared for name, declared in found.items() if declared is not inspect.Parameter.empty}


def _allowed(declared: Any, several: bool = False) -> str:
    """Say in words what values of a type are."""
    kind, inside = get_origin(declared), get_args(declared)
    if kind is Literal:
        *others, last = map(repr, inside)
        return f"{', '.join(others)} or {last}" if others else last
    if kind in (Union, UnionType):
        return ", or ".join(_allowed(each, several) for each in inside)
    if kind is Sequence:
        return f"{'lists' if several else 'a list'} of {_allowed(inside[0], several=True)}"
    return _WORDS.get(declared, (str(declared),) * 2)[several]
