"""YAML in which 1e-3 is a number, as in YAML 1.2 and in Python; to PyYAML it is a text."""

import re
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    pass


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load(text: str) -> Any:
    """Read a document; ``yaml.YAMLError`` where it is not one."""
    return yaml.load(text, Loader=_Loader)
