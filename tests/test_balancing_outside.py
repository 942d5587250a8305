"""A balancing method of another package: registered by its entry point, and run in a notebook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mtlutils import records

ROOT = Path(__file__).parents[1]

METHOD = """
from mtlutils.balancing.balancer import Balancer


class LogSum(Balancer):
    def combine(self, losses):
        return losses.log().sum()
"""


@pytest.fixture
def environment(tmp_path):
    """Variables of a process in which a package with a method is installed."""
    (tmp_path / "outside.py").write_text(METHOD)
    metadata = tmp_path / "outside-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[mtlutils.balancing]\nlogarithms = outside:LogSum\n")
    return os.environ | {"PYTHONPATH": str(tmp_path), "JUPYTER_PREFER_ENV_PATH": "1"}


def run(environment, *command):
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_commands_list_it(environment):
    assert "\nlogarithms\n" in run(environment, "mtlutils", "methods")


def test_notebook_runs_it(environment, tmp_path):
    run(
        environment, "papermill", "--no-progress-bar", "--cwd", "notebooks", "notebooks/weighting_cost.ipynb",
        str(tmp_path / "out.ipynb"), "-y", "methods: [equal, logarithms]", "-y", "seeds: [0]", "-y", "n_tasks: [2]",
        "-p", "rounds", "4", "-p", "calls", "1", "-p", "results", str(tmp_path / "results"),
    )  # fmt: skip
    found, broken = records.read_all(tmp_path / "results")
    assert not broken
    assert sorted(record.method for record in found) == ["equal", "logarithms"]
