"""What differs between records, folders and commits."""

import gc
import json
import math
import subprocess

import pytest
import yaml
from made_up import SETTINGS, a_record, accuracy
from scipy import stats

from mtlutils import differences, folders, records
from mtlutils.differences import between
from mtlutils.errors import InputError


@pytest.fixture(scope="module", autouse=True)
def _quick_garbage_collection():
    # As in test_claims.py: statsmodels collects garbage on every call.
    gc.freeze()
    yield
    gc.unfreeze()


def folder(place, *found):
    """A folder of records, as a command line has it."""
    place.mkdir(parents=True, exist_ok=True)
    for record in found:
        records.write(record, place)
    return str(place)


def file(place, record):
    return str(records.write(record, place))


def run(seed=0, value=0.5, **changed):
    return a_record(seed=seed, metrics={"test/accuracy/a": value}, **changed)


def setting(**changed):
    return a_record().parameters | changed


# Two records


def test_two_records_that_are_alike_differ_in_nothing(tmp_path):
    found = between(file(tmp_path / "a", run()), file(tmp_path / "b", run()))
    assert (found.matched, found.alike) == (1, 1)
    assert (found.parameters, found.environment, found.metrics, found.verdicts) == ({}, {}, [], [])
    assert len(found.as_text().splitlines()) == 3


def test_two_records_of_different_methods_and_settings(tmp_path):
    one = run(value=0.5, parameters=setting(rate=0.1))
    other = run(value=0.75, method="dwa", parameters=setting(epochs=3))
    found = between(file(tmp_path, one), file(tmp_path, other))
    assert found.parameters == {
        "made_up": {"method": (["equal"], ["dwa"]), "epochs": ([2], [3]), "rate": ([0.1], ["absent"])}
    }
    (change,) = found.metrics
    assert (change.runs, change.metric) == ("made_up, equal -> dwa", "test/accuracy/a")
    assert (change.a.mean, change.b.mean, change.difference.mean) == (0.5, 0.75, 0.25)
    assert (change.a.half, change.difference.half, change.difference.n) == (None, None, 1)
    text = found.as_text()
    assert '  method: "equal" -> "dwa"' in text
    assert "    test/accuracy/a: 0.5 (n = 1) -> 0.75 (n = 1); B - A +0.25 (n = 1)" in text


def test_records_of_different_experiments_have_nothing_in_common(tmp_path):
    found = between(file(tmp_path, run()), file(tmp_path, run(experiment="other")))
    assert (found.matched, found.metrics, found.parameters) == (0, [], {})
    assert found.unmatched == ({"made_up": {"equal": 1}}, {"other": {"equal": 1}})
    assert "   only here, other: 1 equal" in found.as_text()


def test_environment_names_what_differs(tmp_path):
    content = run().model_dump()
    changed = {
        "environment": content["environment"] | {"device": "a card", "versions": {"torch": "2.1", "numpy": "2.4"}},
        "source": content["source"] | {"commit": "fedcba9876543210", "dirty": True},
        "data": content["data"] | {"checksums": {"train.csv": "md5:1"}},
    }
    found = between(file(tmp_path / "a", run()), file(tmp_path / "b", run(**changed)))
    assert found.environment == {
        "device": (["a processor"], ["a card"]),
        "torch": (["2.0"], ["2.1"]),
        "commit": (["0123456"], ["fedcba9+changes"]),
        "made up, train.csv": (["md5:0"], ["md5:1"]),
        "numpy": ([], ["2.4"]),
    }
    assert "  numpy: none -> 2.4" in found.as_text()
    assert (found.matched, found.alike) == (1, 1)


def test_digests_are_cut_in_the_text_alone(tmp_path):
    one, other = (f"sha256:{digit * 64}" for digit in "ab")
    here, there = (run(data=run().model_dump()["data"] | {"checksums": {"x": digest}}) for digest in (one, other))
    found = between(file(tmp_path / "a", here), file(tmp_path / "b", there))
    assert f"made up, x: sha256:{'a' * 12} -> sha256:{'b' * 12}\n" in found.as_text() + "\n"
    assert found.as_json()["environment"]["made up, x"] == ([one], [other])


# Two folders


def test_metrics_are_paired_over_common_seeds(tmp_path):
    here = folder(tmp_path / "a", *(run(seed, value) for seed, value in enumerate([0.1, 0.2, 0.3, 0.9])))
    there = folder(tmp_path / "b", *(run(seed, value) for seed, value in enumerate([0.2, 0.2, 0.6])), run(7, 0.5))
    found = between(here, there)
    (change,) = found.metrics
    assert (change.a.n, change.b.n, change.difference.n) == (4, 4, 3)
    assert change.a.mean == pytest.approx(0.375)
    assert change.b.mean == pytest.approx(0.375)
    differences_by_hand = [0.1, 0.0, 0.3]
    assert change.difference.mean == pytest.approx(0.4 / 3)
    half = stats.t.ppf(0.975, 2) * stats.sem(differences_by_hand)
    assert change.difference.half == pytest.approx(half)
    assert (found.matched, found.alike) == (3, 1)
    assert found.unmatched == ({"made_up": {"equal": 1}}, {"made_up": {"equal": 1}})


def test_a_setting_with_one_value_a_side_is_what_is_compared(tmp_path):
    def side(name, epochs, shift):
        return folder(
            tmp_path / name,
            *(
                run(seed, rate + shift, method=method, parameters=setting(epochs=epochs, rate=rate))
                for seed in (0, 1)
                for rate in (0.1, 0.2)
                for method in ("equal", "dwa")
            ),
        )

    found = between(side("a", 5, 0.0), side("b", 10, 0.5))
    assert found.parameters == {"made_up": {"epochs": ([5], [10])}}
    assert found.matched == 8
    names = [f"made_up, {method}, rate {rate}" for method in ("dwa", "equal") for rate in (0.1, 0.2)]
    assert sorted(change.runs for change in found.metrics) == names
    assert {round(change.difference.mean, 12) for change in found.metrics} == {0.5}


def test_a_setting_with_several_values_has_to_match(tmp_path):
    here = folder(tmp_path / "a", *(run(parameters=setting(rate=rate)) for rate in (0.1, 0.2)))
    there = folder(tmp_path / "b", *(run(parameters=setting(rate=rate)) for rate in (0.2, 0.3)))
    found = between(here, there)
    assert found.parameters == {"made_up": {"rate": ([0.1, 0.2], [0.2, 0.3])}}
    assert (found.matched, found.alike) == (1, 1)
    assert found.unmatched == ({"made_up": {"equal": 1}}, {"made_up": {"equal": 1}})


def test_a_folder_without_a_setting_does_not_mix_it_up(tmp_path):
    """A record from before a setting came is another run than one with it."""
    mixed = folder(tmp_path / "a", run(value=0.1), run(value=0.2, parameters=setting(rate=0.1)))
    found = between(mixed, folder(tmp_path / "b", run(value=0.3, parameters=setting(rate=0.1))))
    assert found.parameters == {"made_up": {"rate": ([0.1, "absent"], [0.1])}}
    assert found.matched == 1
    (change,) = found.metrics
    assert (change.a.mean, change.b.mean) == (0.2, 0.3)


def test_diverged_runs_have_no_value(tmp_path):
    here = folder(tmp_path / "a", run(0, 0.5), run(1, 0.5))
    there = folder(tmp_path / "b", run(0, None, status="diverged"), run(1, None, status="diverged"))
    (change,) = between(here, there).metrics
    assert (change.b.mean, change.b.n, change.difference.mean) == (None, 0, None)
    assert "0.5 ± 0 (n = 2) -> none; B - A none" in between(here, there).as_text()


def test_a_metric_of_one_side_only(tmp_path):
    here = folder(tmp_path / "a", run(value=0.5))
    there = folder(tmp_path / "b", a_record(metrics={"test/accuracy/a": 0.5, "test/loss/a": 1.0}))
    (change,) = between(here, there).metrics
    assert (change.metric, change.a.n, change.b.mean, change.difference.n) == ("test/loss/a", 0, 1.0, 0)


def test_a_record_against_a_folder(tmp_path):
    here = file(tmp_path / "a", run(1, 0.25))
    there = folder(tmp_path / "b", *(run(seed, 0.5) for seed in range(3)))
    found = between(here, there)
    assert found.matched == 1
    assert found.metrics[0].difference.mean == 0.25
    assert found.verdicts == []


def test_broken_files_are_named_and_left_out(tmp_path):
    here = folder(tmp_path / "a", run())
    (tmp_path / "a" / "broken.json").write_text("{")
    found = between(here, here)
    (problem,) = found.a.problems
    assert problem.startswith("broken.json: not a valid run record")
    assert f"   left out: {problem}" in found.as_text()


# Mistakes


def test_mistakes_say_what_to_do(tmp_path):
    good = folder(tmp_path / "good", run())
    (tmp_path / "empty").mkdir()
    folder(tmp_path / "twice" / "a", run())
    folder(tmp_path / "twice" / "b", run())
    for what, message in (
        ("nonesuch", "^nonesuch: no such file, folder or git commit$"),
        (str(tmp_path / "empty"), "holds no valid run record; give a folder such as"),
        (str(tmp_path / "twice"), "holds the run [0-9a-f]{12} 2 times; give one folder of results"),
        ("--output=x", "no such file, folder or git commit"),
    ):
        with pytest.raises(InputError, match=message):
            between(what, good)
        with pytest.raises(InputError, match=message):
            between(good, what)


# Commits and verdicts


def git(place, *arguments):
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(place), *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with a profile and two commits: one without records, one with five seeds of two methods."""
    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    profile = tmp_path / "profiles" / "cpu" / "adaptive_agnews.yml"
    profile.parent.mkdir(parents=True)
    profile.write_text(yaml.safe_dump({"methods": ["equal", "adaptive"], "seeds": list(range(12)), **SETTINGS}))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "A profile")
    seeds(tmp_path, range(5))
    return tmp_path


def seeds(project, which):
    """Commit records in which adaptive weights are ahead by a little less each seed."""
    found = [accuracy("adaptive", i, 0.9 - i / 1000, 0.9 - i / 1000) for i in which]
    folder(project / "results", *found, *(accuracy("equal", i, 0.5, 0.5) for i in which))
    git(project, "add", ".")
    git(project, "commit", "--quiet", "--message", "Records")


def test_commits_are_read_from_git_and_verdicts_that_change_are_named(project):
    seeds(project, range(5, 12))
    found = between("HEAD~1", "HEAD")
    assert [len(side.records) for side in (found.a, found.b)] == [10, 24]
    assert (found.matched, found.alike) == (10, 10)
    assert found.unmatched == ({}, {"adaptive_agnews": {"adaptive": 7, "equal": 7}})
    assert {change.runs for change in found.metrics} == {"adaptive_agnews, adaptive", "adaptive_agnews, equal"}
    assert {change.difference.mean for change in found.metrics} == {0}
    # The three claims that go by adaptive against equal weights alone, or are refuted by them.
    assert {flip.claim: (flip.old["verdict"], flip.new["verdict"]) for flip in found.verdicts} == {
        "huq2022/table3-second": ("undecided", "contradicted"),
        "huq2022/table3-vanilla": ("undecided", "reproduced"),
        "huq2022/table3-vanilla-best": ("undecided", "contradicted"),
    }
    assert all(flip.old["numbers"].endswith("n = 5") for flip in found.verdicts)
    assert all(flip.new["numbers"].endswith("n = 12") for flip in found.verdicts)
    assert found.as_text().splitlines()[-3:] == [f"  {flip}" for flip in found.verdicts]


def test_a_folder_against_a_commit(project):
    found = between(str(project / "results"), "HEAD")
    assert (found.matched, found.alike, found.verdicts) == (10, 10, [])
    assert found.b.name.startswith("HEAD (commit ")


def test_only_what_differs_is_judged(project, monkeypatch):
    asked = []
    monkeypatch.setattr(differences.ledger, "entries", lambda found, experiments: asked.append(experiments) or [])
    between("HEAD", "HEAD")
    folder(project / "more", run(), *(records.read_all(project / "results")[0]))
    between("HEAD", str(project / "more"))
    assert asked == [set(), set(), {"made_up"}, {"made_up"}]


def test_commit_without_results_is_named(project):
    with pytest.raises(InputError, match=r"^HEAD~1 \(commit [0-9a-f]{7}\): has no folder results; choose a later"):
        between("HEAD~1", "HEAD")


def test_json_says_the_same(project):
    seeds(project, range(5, 12))
    found = between("HEAD~1", "HEAD")
    content = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert content["b"] == {
        "name": found.b.name,
        "records": 24,
        "problems": [],
        "unmatched": {"adaptive_agnews": {"adaptive": 7, "equal": 7}},
    }
    assert (content["matched"], content["alike"]) == (10, 10)
    assert len(content["metrics"]) == len(found.metrics) == 8
    for written, change in zip(content["metrics"], found.metrics, strict=True):
        assert (written["runs"], written["metric"]) == (change.runs, change.metric)
        assert written["b"] == {"mean": change.b.mean, "half": change.b.half, "n": 12}
        assert not math.isnan(written["difference"]["half"])
    assert content["verdicts"] == [{"claim": flip.claim, "old": flip.old, "new": flip.new} for flip in found.verdicts]
