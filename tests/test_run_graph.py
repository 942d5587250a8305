"""The run graph: what has no record is trained, by one job a run, and nothing else is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mtlutils import records

ROOT = Path(__file__).parents[1]
LOST = "weighting_cost/dwa-seed0-"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A copy of the repository in which one record is missing, and that record."""
    copy = tmp_path_factory.mktemp("graph")
    for name in ("book", "mtlutils", "notebooks", "profiles", "results"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "_config.yml", "_toc.yml", "pyproject.toml"):
        shutil.copy(ROOT / name, copy)
    lost = next(path for path in sorted((copy / "results").rglob("*.json")) if LOST in str(path))
    record = records.read(lost)
    lost.unlink()
    return copy, lost.relative_to(copy), record


def snakemake(folder, *arguments, profile="cpu"):
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(folder),
        "OMP_NUM_THREADS": "1",
    }
    command = ["snakemake", "--cores", "1", "--nolock", *arguments, "--config", f"profile={profile}"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_what_has_no_record_is_trained_and_nothing_else(checkout):
    folder, lost, before = checkout
    status, printed = snakemake(folder, "--dry-run")
    assert status == 0, printed
    jobs = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}
    notebooks = len(list((ROOT / "notebooks").glob("*.ipynb")))
    assert jobs == {"train": 1, "notebook": notebooks, "book": 1, "all": 1, "total": notebooks + 3}

    status, printed = snakemake(folder, str(lost))
    assert status == 0, printed
    record = records.read(folder / lost)
    assert (record.method, record.seed, record.parameters) == (before.method, before.seed, before.parameters)
    assert record.started > before.started


def test_profile_without_parameters_is_one_line(checkout):
    status, printed = snakemake(checkout[0], "--dry-run", profile="none")
    assert status == 1
    assert "no profile 'none': profiles/none holds no notebook's parameters" in printed
