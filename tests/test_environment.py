"""pyproject.toml, requirements.lock, environment.yml and the running environment agree; devices have names."""

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from mtlutils import environment

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = PROJECT["project"]["dependencies"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
LOCK = [
    Requirement(line.removesuffix("\\").strip())
    for line in (ROOT / "requirements.lock").read_text().splitlines()
    if re.match(r"\w", line)
]


@pytest.mark.parametrize("text", [*RUNTIME, *EXTRAS["book"], *EXTRAS["dev"], *PROJECT["build-system"]["requires"]])
def test_lock_satisfies_every_requirement(text):
    requirement = Requirement(text)
    if requirement.name == PROJECT["project"]["name"]:
        return  # an extra that includes another
    locked = [pin for pin in LOCK if canonicalize_name(pin.name) == canonicalize_name(requirement.name)]
    assert locked, f"requirements.lock lacks {requirement.name}; run `make lock`"
    for pin in locked:
        (exact,) = pin.specifier
        assert requirement.specifier.contains(exact.version), f"{pin} is outside {text}; run `make lock`"


def test_every_pin_says_why():
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    pins = [line for line in lines if re.search(r'"[\w.-]+[=<>~]=', line) or line.startswith("requires-python")]
    assert len(pins) > len(RUNTIME)
    assert not [line for line in pins if not re.search(r"[\"\]],?\s+# \S", line)]


def test_conda_environment_has_the_same_pins():
    *packages, pip = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert set(pip["pip"]) == {*RUNTIME, *EXTRAS["book"], "-e ."}
    # Binder takes the Python that this names, and its own where it is a range
    (python,) = [found[1] for package in packages if (found := re.fullmatch(r"python=(\d+\.\d+)", package))]
    assert python in SpecifierSet(PROJECT["project"]["requires-python"])


def test_installed_versions_are_the_locked_ones():
    if not Path(sys.prefix, "ready").exists():
        pytest.skip("this is not the environment that `make` installs from the lock")
    wrong = []
    for pin in LOCK:
        if pin.marker and not pin.marker.evaluate():
            continue
        try:
            installed = version(pin.name)
        except PackageNotFoundError:
            installed = "nothing"
        if not pin.specifier.contains(installed if installed != "nothing" else "0", prereleases=True):
            wrong.append(f"{pin}: {installed} is installed")
    assert not wrong


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (
            "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC\ncpu family\t: 25\n\nmodel\t: 2\n",
            "AMD EPYC (family 25, model 1)",
        ),
        ("processor: 0\nmodel name: A: B\n", "A: B"),
        ("processor: 0\nBogoMIPS: 50.00\n", "its machine"),
    ],
)
def test_processors_of_one_name_are_told_apart_by_generation(tmp_path, monkeypatch, cpuinfo, name):
    path = tmp_path / "cpuinfo"
    path.write_text(cpuinfo)
    monkeypatch.setattr(environment, "Path", lambda _: path)
    monkeypatch.setattr(environment.platform, "processor", lambda: "its machine")
    assert environment.describe(torch.device("cpu")).device == name
