"""YAML where 1e-3 is a number, as in its version 1.2 and in Python; in version 1.1 it is a text."""

import math
import re
from typing import Any

import yaml


# That in C, which PyYAML has where it was built with libyaml, takes a tenth of the time.
class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    pass


class _Dumper(yaml.SafeDumper):
    pass


for _each in (_Loader, _Dumper):  # the second quotes a text that the first would take for a number
    _each.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def load(text: str) -> Any:
    """Read a document; ``yaml.YAMLError`` where it is not one."""
    return yaml.load(text, Loader=_Loader)


def in_a_line(values: list[Any]) -> str:
    """Write a list on one line, ``[1, a]``."""
    return yaml.dump(values, Dumper=_Dumper, default_flow_style=True, width=math.inf).rstrip()
