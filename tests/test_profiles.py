"""Profiles: a notebook's parameters, and those of its studies."""

import pytest

from mtlutils import folders, profiles
from mtlutils.errors import InputError

PARAMETERS = {
    "methods": ["equal", "dwa"],
    "seeds": [0, 1],
    "epochs": 5,
    "sweep_seeds": [7],
    "sweep_learning_rate": [0.1, 0.2],
    "scaled_methods": ["equal"],
    "learning_rate": 0.3,
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with the folder of an empty profile."""
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    (tmp_path / "profiles" / "cpu").mkdir(parents=True)
    return tmp_path


def test_number_with_an_exponent_is_a_number(project):
    (project / "profiles" / "cpu" / "made_up.yml").write_text("learning_rate: 1e-3\nsweep: [1e-2, 0.1]\nname: e1\n")
    assert profiles.parameters("cpu", "made_up") == {"learning_rate": 0.001, "sweep": [0.01, 0.1], "name": "e1"}
    assert profiles.listed("[1e-2]") == [0.01]


def test_main_runs_have_the_parameters_as_they_are():
    assert profiles.of_study(PARAMETERS, "") == PARAMETERS


def test_study_has_its_own_in_the_place_of_the_main_ones():
    sweep = profiles.of_study(PARAMETERS, "sweep")
    assert {name: sweep[name] for name in ("methods", "seeds", "epochs", "learning_rate")} == {
        "methods": ["equal", "dwa"],
        "seeds": [7],
        "epochs": 5,
        "learning_rate": [0.1, 0.2],
    }
    scaled = profiles.of_study(PARAMETERS, "scaled")
    assert (scaled["methods"], scaled["seeds"], scaled["learning_rate"]) == (["equal"], [0, 1], 0.3)


def test_study_without_parameters_of_its_own_is_the_main_runs():
    assert profiles.of_study(PARAMETERS, "groupings") == PARAMETERS


def test_name_of_a_study_is_one_only_at_the_beginning_and_as_a_whole():
    parameters = {"rate": 1, "sweeping_rate": 2, "a_sweep_rate": 3, "sweep_sweep_rate": 4, "sweep": 5}
    assert profiles.of_study(parameters, "sweep") == parameters | {"sweep_rate": 4}


def test_parameter_that_only_a_study_has_is_the_studys():
    assert "batch_size" not in profiles.of_study({"sweep_batch_size": 8}, "")
    assert profiles.of_study({"sweep_batch_size": 8}, "sweep")["batch_size"] == 8


def test_parameters_given_stay_as_they_are():
    before = dict(PARAMETERS)
    profiles.of_study(PARAMETERS, "sweep")["seeds"] = None
    assert before == PARAMETERS


def test_parameters_of_a_notebook_in_a_profile(project):
    (project / "profiles" / "cpu" / "digits.yml").write_text(
        "# why\nseeds: [0, 1]  # few\nrate: 0.5\nname: é\n", "utf-8"
    )
    assert profiles.parameters("cpu", "digits") == {"seeds": [0, 1], "rate": 0.5, "name": "é"}


@pytest.mark.parametrize(("profile", "notebook"), [("cpu", "digits"), ("paper", "faces"), ("nonesuch", "digits")])
def test_no_parameters(project, profile, notebook):
    (project / "profiles" / "cpu" / "faces.yml").write_text("seeds: []\n")
    assert profiles.parameters(profile, notebook) is None


@pytest.mark.parametrize("content", ["seeds: [0, 1\nrate: 1\n", "a: b: c\n", "\tseeds: [0]\n"])
def test_profile_that_is_not_yaml_names_its_file(project, content):
    path = project / "profiles" / "cpu" / "digits.yml"
    path.write_text(content)
    with pytest.raises(InputError, match="not valid YAML") as error:
        profiles.parameters("cpu", "digits")
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
