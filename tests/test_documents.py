"""What the documents tell a reader to type does what they say.

In README.md and book/rerun.md every papermill and mtlutils line of a ``bash`` block is run; a ``shell`` block needs the
network, data or much time. The recipes of CONTRIBUTING.md are followed in a copy of the repository.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

ROOT = Path(__file__).parents[1]
README, CONTRIBUTING, RERUN = ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "book" / "rerun.md"
PROSE = [README, *sorted((ROOT / "book").glob("*.md")), *sorted((ROOT / "notebooks").glob("*.ipynb"))]


def blocks(page: Path, language: str) -> list[str]:
    """The contents of a page's fenced blocks in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    text = "".join(block for page in (README, RERUN) for block in blocks(page, "bash"))
    lines = [" ".join(line.split("  #")[0].split()) for line in text.replace("\\\n", " ").splitlines()]
    return list(dict.fromkeys(line for line in lines if line.startswith(("papermill ", "python -m "))))


def run(command: str, folder: Path, package: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a line as a reader would, in a folder and with an environment of its own."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(package),  # the package under test, whatever is installed
        "MTLUTILS_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    return subprocess.run(["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True)


def test_there_are_lines_to_run():
    assert any("""-p methods '["equal","adaptive"]' -p seeds '[0]' -p epochs 2""" in line for line in commands())


@pytest.mark.parametrize("command", commands())
def test_line_runs(command, tmp_path):
    for folder in ("notebooks", "profiles"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout + done.stderr
    for written in tmp_path.glob("*.ipynb"):
        outputs = [output for cell in json.loads(written.read_text())["cells"] for output in cell.get("outputs", [])]
        assert outputs
        assert not [output for output in outputs if output["output_type"] == "error"]


@pytest.mark.parametrize("page", [README, CONTRIBUTING])
def test_links_lead_to_files(page):
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert links
    assert not [link for link in links if not urlsplit(link).scheme and not (ROOT / link).exists()]


@pytest.mark.parametrize("page", PROSE, ids=lambda page: page.name)
def test_no_result_is_typed(page):
    text = page.read_text()
    if page.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    assert not re.findall(r".*(?:± ?\d|\d points\b|\d\.\d+ ?%(?! quantile)).*", text)


@pytest.fixture(scope="module")
def contributed(tmp_path_factory):
    """A copy of the repository with the recipes' files; the first line of each block says where it goes."""
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("book", "mtlutils", "notebooks", "profiles", "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    languages = ("python", "yaml", "bibtex", "markdown")
    for block in (block for language in languages for block in blocks(CONTRIBUTING, language)):
        title, content = block.split("\n", 1)
        path, _, place = title.strip("#%<!-> ").partition(", ")
        file = checkout / path
        if place:
            text = file.read_text()
            found = re.search(rf"^{place.removeprefix('in ')}.*\n", text, re.MULTILINE)
            assert found or place == "at the end", f"{path} has no {place.removeprefix('in ')}"
            content = text[: found.end()] + content + text[found.end() :] if found else f"{text}\n\n{content}"
        else:
            assert not file.exists(), f"{path} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return checkout


def test_recipe_for_a_method(contributed):
    # All that goes through the registered methods; of the slow ones, the cases of this method.
    tests = [
        "tests/test_balancing.py",
        "tests/test_balancing_combinations.py::test_every_method_that_combines_gradients_is_tested",
        "tests/test_command_line.py::test_methods",
        "tests/test_landscape.py::test_profile_runs_every_method_that_is_not_left_out_for_a_reason",
        "tests/test_primer.py",
        "tests/test_training.py",
    ]
    of_methods = "test_balancing.py or test_training.py"
    chosen = f"python -m pytest {' '.join(tests)} -k 'log_sum or memory or known or names or not ({of_methods})'"
    done = run(f"python -m mtlutils methods && {chosen}", contributed, contributed)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "log_sum" in done.stdout.split()


def test_recipe_for_a_method_names_every_list_of_the_shared_tests():
    lists = re.findall(r'^([A-Z]\w+) = \[\s*"', (ROOT / "tests" / "test_balancing.py").read_text(), re.MULTILINE)
    assert {"OPTIONS", "SUM_TO_1"} <= set(lists)
    assert not [each for each in lists if f"`{each}`" not in CONTRIBUTING.read_text()]


def test_recipe_for_a_data_set_and_an_experiment(contributed):
    done = run("python -m mtlutils run digits --method log_sum --results results", contributed, contributed)
    assert done.returncode == 0, done.stderr
    (record,) = (contributed / "results" / "digits").glob("*.json")
    assert json.loads(record.read_text())["metrics"]["test/accuracy/digit"] > 0.5


def test_recipe_for_a_paper_and_a_profile(contributed):
    done = run("python -m mtlutils report --output generated", contributed, contributed)
    assert done.returncode == 0, done.stderr
    assert "Table 7" in (contributed / "generated" / "scoreboard.md").read_text()
    plan = "experiments.plan('digits', profiles.parameters('cpu', 'digits'))"
    code = f"from mtlutils import experiments, profiles; print(len({plan}))"
    done = run(f'python -c "{code}"', contributed, contributed)
    assert done.stdout == "28\n", done.stderr  # 7 seeds of two methods, and of two single-task models


def test_recipes_are_clean(contributed):
    files = {block.split("\n", 1)[0].removeprefix("# ").split(", ")[0] for block in blocks(CONTRIBUTING, "python")}
    names = " ".join(files)
    done = run(f"ruff check --quiet {names} && ruff format --check --quiet {names}", contributed, contributed)
    assert done.returncode == 0, done.stdout + done.stderr
