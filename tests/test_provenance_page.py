"""The page on how the book was built: its tables from made-up records, notebooks and settings."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from made_up import a_record

from mtlutils import experiments, folders, ledger, pages, provenance_page, record_list, records
from mtlutils.errors import InputError

ROOT = Path(__file__).parents[1]
ASKED = {"methods": ["equal"], "seeds": [0, 1], "epochs": 2}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with one profile of one experiment, and no records."""
    shutil.copy(folders.project() / "pyproject.toml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "fingers.ipynb").write_text('{"metadata": {}, "cells": []}')
    profile = tmp_path / "profiles" / "cpu" / "fingers.yml"
    profile.parent.mkdir(parents=True)
    profile.write_text(yaml.safe_dump(ASKED))
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    monkeypatch.setattr(experiments, "names", lambda: ["fingers"])
    return tmp_path


def a_run(seed=0, **changed):
    """A record of the run that the profile asks for, but for the parameters given; ``...`` leaves one out."""
    (run,) = experiments.load("fingers").plan(["equal"], [seed], epochs=2)
    parameters = {name: value for name, value in (run.parameters | changed).items() if value is not ...}
    return a_record(experiment="fingers", seed=seed, parameters=parameters)


def commit(project, *found):
    return [records.write(record, project / "results") for record in found]


def rows(name, notebooks=None):
    """A table's rows, each a dictionary by heading."""
    listing = provenance_page.listings(notebooks)[name]
    return [dict(zip(listing.header, row, strict=True)) for row in listing.rows]


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({}, ""),
        ({"epochs": 3}, "no committed profile asks for it"),
        ({"size": ...}, "it lacks the parameters `size`"),
        ({"depth": 3}, "no parameters of the experiment are `depth`"),
        ({"size": ..., "a": 1, "b": 2}, "it lacks the parameters `size`; no parameters of the experiment are `a`, `b`"),
    ],
)
def test_record_is_stale_where_it_no_longer_fits_the_code(project, changed, why):
    commit(project, a_run(**changed), a_run(seed=1))
    (experiment,) = rows("records")
    assert (experiment["Records"], experiment["Stale"]) == ("2", "1" if why else "0")
    (stale,) = rows("stale")
    if why:
        assert (stale["Experiment"], stale["Method"], stale["Records"]) == ("`fingers`", "`equal`", "1")
        assert stale["Why"] == why
        assert (project / stale["The first of them"].strip("`")).is_file()
    else:
        assert (stale["Experiment"], stale["Records"]) == ("none", "0")


def test_changed_default_makes_a_record_stale(project, monkeypatch):
    record = a_run()
    commit(project, record)
    settings = experiments.load("fingers").settings
    monkeypatch.setattr(settings.model_fields["batch_size"], "default", 7)
    settings.model_rebuild(force=True)
    try:
        assert rows("stale")[0]["Why"] == "no committed profile asks for it"
    finally:
        monkeypatch.undo()
        settings.model_rebuild(force=True)


def test_record_of_an_experiment_that_is_no_more_and_one_that_cannot_be_read(project):
    (path,) = commit(project, a_record())
    path.with_name("broken.json").write_text("{")
    gone, broken = rows("stale")
    assert gone["Why"] == "there is no such experiment"
    assert broken["Why"].startswith("results/made_up/broken.json: not a valid run record")
    assert [row["Records"] for row in rows("records")] == ["0", "1"]


def test_records_with_their_machines_commits_and_ages(project):
    now = datetime.now(UTC)
    old, new = a_run(), a_run(seed=1)
    old = old.model_copy(update={"started": now - timedelta(days=40, hours=1)})
    source = new.source.model_copy(update={"commit": "f" * 40, "dirty": True})
    new = new.model_copy(update={"started": now - timedelta(hours=1), "source": source})
    commit(project, old, new)
    (row,) = rows("records")
    assert row["Profiles"] == "cpu: 2 of 2"
    assert row["Devices"] == "a processor, 1 thread"
    assert [text in row["Commits"] for text in ("`0123456`", "`fffffff`", "+ changes")] == [True, True, True]
    assert row["Oldest"] == f"{old.started:%Y-%m-%d} (40 d)"
    assert row["Newest"] == f"{new.started:%Y-%m-%d} (0 d)"


def test_run_that_a_profile_asks_for_and_that_has_no_record_is_counted(project):
    assert rows("records")[0]["Profiles"] == "cpu: 0 of 2"


def test_checksums_are_those_of_the_records(project):
    commit(project, a_run(), a_run(seed=1))
    (row,) = rows("data")
    assert (row["File"], row["Checksum"], row["Records"]) == ("`train.csv`", "`md5:0`", "2")


def executed(folder, name, exception=None, states=("completed", "completed"), **parameters):
    """Write a notebook with what papermill leaves in one."""
    made = {
        "exception": exception,
        "duration": 12.4,
        "start_time": "2026-01-02T04:04:05+01:00",
        "parameters": parameters,
    }
    cells = [{"metadata": {"papermill": {"status": status}}} for status in states]
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.ipynb").write_text(json.dumps({"metadata": {"papermill": made}, "cells": cells}))


@pytest.mark.parametrize(
    ("changed", "status", "profile"),
    [
        ({}, "completed", "smoke"),
        ({"profile": "cpu"}, "completed", "cpu"),
        ({"exception": True, "states": ("completed", "failed")}, "**failed**: 1 of 2 cells completed", "smoke"),
        ({"states": ("completed", "pending")}, "**failed**: 1 of 2 cells completed", "smoke"),
    ],
)
def test_notebooks_with_time_and_status(project, tmp_path, changed, status, profile):
    executed(tmp_path / "done", "fingers", **changed)
    (row,) = rows("notebooks", tmp_path / "done")
    assert (row["Status"], row["Profile"], row["Seconds"]) == (status, profile, "12")
    assert row["Started"] == "2026-01-02 03:04 UTC"
    assert row["Notebook"] == "[`fingers`](../notebooks/fingers.ipynb)"


def test_notebook_that_was_not_executed_says_so(project, tmp_path):
    assert [row["Status"] for row in rows("notebooks")] == ["not run"]
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "fingers.ipynb").write_text('{"metadata": {}, "cells": []}')
    assert [row["Status"] for row in rows("notebooks", tmp_path / "done")] == ["not run"]


def test_folder_without_notebooks_and_broken_notebook(project, tmp_path):
    with pytest.raises(InputError, match="no such folder of executed notebooks"):
        provenance_page.listings(tmp_path / "nowhere")
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "fingers.ipynb").write_text("{")
    with pytest.raises(InputError, match=r"fingers\.ipynb: not a notebook"):
        provenance_page.listings(tmp_path / "done")


def test_build_and_dependencies(project):
    values = {row["What"]: row["Value"] for row in rows("build")}
    assert values["Git commit"] == "no git commit"
    assert values["`requirements.lock`"] == "not there"
    (project / "requirements.lock").write_bytes(b"abc")
    values = {row["What"]: row["Value"] for row in rows("build")}
    # of "abc", FIPS 180-2's own example
    assert "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" in values["`requirements.lock`"]
    installed = {row["Library"]: row["Installed"] for row in rows("dependencies")}
    assert installed["`pydantic`"] == f"`{version('pydantic')}`"
    assert "`papermill`" in installed


def test_dependency_that_is_missing_or_another_one_is_marked(project):
    file = project / "pyproject.toml"
    text = file.read_text().replace('"pyyaml==6.0.3"', '"pyyaml==1.0", "no-such-library==1"')
    file.write_text(text)
    installed = {row["Library"]: row["Installed"] for row in rows("dependencies")}
    assert installed["`pyyaml`"] == f"**`{version('pyyaml')}`, not as asked for**"
    assert installed["`no-such-library`"] == "**not installed**"


def test_page_includes_every_part(project):
    page = (ROOT / "book" / "provenance.md").read_text()
    names = {f"provenance-{name}.md" for name in provenance_page.listings()} | {"records.csv"}
    assert {name for name in names if f"_generated/{name}" not in page} == set()
    assert page.count("_generated/") == len(names)


def test_parts_are_written(project, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "entries", list)  # they take seconds
    commit(project, a_run())
    pages.write(tmp_path / "parts")
    assert "cpu: 1 of 2" in (tmp_path / "parts" / "provenance-records.md").read_text()


def test_list_of_records_has_a_line_each_with_its_age_and_the_claims_on_it(project):
    found = [a_run(0), a_run(1), a_run(0, epochs=3)]
    old = found[1].model_copy(update={"started": datetime.now(UTC) - timedelta(days=9, hours=1)})
    paths = commit(project, found[0], old, found[2])
    claims = [SimpleNamespace(id="a/b", records=found[:2]), SimpleNamespace(id="a/c", records=found[:1])]
    record_list.write(project / "records.csv", claims, provenance_page.planned())
    table = pd.read_csv(project / "records.csv", keep_default_na=False).set_index("file")
    assert list(table.index) == sorted(path.relative_to(project).as_posix() for path in paths)
    lines = [table.loc[path.relative_to(project).as_posix()] for path in paths]
    assert lines[1]["age when this was written (days)"] == 9
    assert [line["seed"] for line in lines] == [0, 1, 0]
    assert [line["stale"] for line in lines] == ["", "", "no committed profile asks for it"]
    assert [line["claims"] for line in lines] == ["a/b a/c", "a/b", ""]
