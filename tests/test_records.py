"""Run records: written whole or not at all, read back the same, and refused with a reason where they are broken."""

import errno
import inspect
import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from made_up import a_record

from mtlutils import balancing, folders, profiles, records
from mtlutils.errors import InputError
from mtlutils.records import RecordError

ROOT = Path(__file__).parents[1]


def check(folder):
    """``records check`` of a folder: exit status, lines on stdout, lines on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "mtlutils", "records", "check", str(folder)], capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines(), done.stderr.splitlines()


# Round trip


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"status": "diverged", "message": "epoch 2: broken", "selected_epoch": None, "metrics": {"a": None}},
        {"curves": {"a": [1.0, None, 3.5], "b": [], "c": [1e-300, 1e300, 0.1 + 0.2]}},
        {"message": "brackets [  1,  2  ] and [ ], “quotes”, \\ and\nlines"},
        {"method": "adaptive(detach=false)", "parameters": {"x": None, "y": [1, [2, "[ 3 ]"]], "z": {"w": True}}},
        {"parameters": {}, "metrics": {}, "curves": {}},
        {"traces": {"step/loss/a": [1.25, None, 1e-300], "step/loss/b": []}},
        {"timing": a_record().timing.model_dump() | {"processor_seconds_per_step": 0.0123456789}},
        {"timing": a_record().timing.model_dump() | {"processor_seconds_per_step": None}},
    ],
)
def test_what_is_written_is_read(tmp_path, changed):
    record = a_record(**changed)
    path = records.write(record, tmp_path)
    assert records.read(path) == record
    assert records.read_all(tmp_path) == ([record], [])
    assert records.read(path).outcome() == record.outcome()


PREDICTIONS = {"test/a": np.arange(6, dtype=np.int8).reshape(2, 3), "test/b": np.array([0.5, -2.0], dtype=np.float16)}


def test_predictions_are_found_again_by_their_record(tmp_path):
    record, other = a_record(), a_record(seed=1)
    records.write(record, tmp_path, PREDICTIONS)
    records.write(other, tmp_path)
    found = records.predictions(record, tmp_path)
    assert found.keys() == PREDICTIONS.keys()
    for name, values in PREDICTIONS.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == values.dtype
    assert records.predictions(other, tmp_path) == {}
    assert len(records.read_all(tmp_path)[0]) == 2


def test_predictions_of_a_run_are_the_same_file_each_time(tmp_path):
    contents = set()
    for _ in range(2):
        contents.add(records.write(a_record(), tmp_path, PREDICTIONS).with_suffix(".npz").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    "broken",
    [lambda content: content[:-40], lambda content: b"", lambda content: content[:60] + b"x" * 20 + content[80:]],
)
def test_broken_predictions_are_named(tmp_path, broken):
    path = records.write(a_record(), tmp_path, PREDICTIONS).with_suffix(".npz")
    path.write_bytes(broken(path.read_bytes()))
    with pytest.raises(records.RecordError, match=re.escape(str(path))):
        records.predictions(a_record(), tmp_path)


def test_no_record_where_the_predictions_cannot_be_written(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(records.RecordError, match="No space left"):
        records.write(a_record(), tmp_path, PREDICTIONS)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_numbers_that_are_not_finite_become_null(tmp_path):
    record = a_record(
        metrics={"a": math.nan, "b": 1.0}, curves={"c": [math.inf, -math.inf, 2.0]}, traces={"d": [math.nan, 3.0]}
    )
    path = records.write(record, tmp_path)
    json.loads(path.read_text(), parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    stored = records.read(path)
    assert stored.metrics == {"a": None, "b": 1.0}
    assert stored.curves == {"c": [None, None, 2.0]}
    assert stored.traces == {"d": [None, 3.0]}


def test_record_from_before_there_were_traces_and_processor_time_keeps_its_values(tmp_path):
    # a_record() has neither; the file is written as it was then
    path = records.write(a_record(), tmp_path)
    content = json.loads(path.read_text())
    assert content.pop("traces") == {}
    assert content["timing"].pop("processor_seconds_per_step") is None
    path.write_text(json.dumps(content))
    older = records.read(path)
    assert (older.traces, older.timing.processor_seconds_per_step) == ({}, None)
    assert older == a_record()
    assert records.read_all(tmp_path) == ([older], [])


def test_file_is_small_and_readable(tmp_path):
    record = a_record(curves={"loss": [0.125] * 50}, traces=dict.fromkeys(["step/loss/a", "step/loss/b"], [0.25] * 500))
    path = records.write(record, tmp_path)
    lines = path.read_text().splitlines()
    assert sum("0.125" in line for line in lines) == 1  # one line a curve
    assert sum("0.25" in line for line in lines) == 2  # and one a trace
    assert len(lines) < 80
    assert path.read_text().endswith("}\n")
    assert list(json.loads(path.read_text())) == sorted(json.loads(path.read_text()))


def test_writing_again_gives_the_same_file_and_leaves_nothing_else(tmp_path):
    path = records.write(a_record(), tmp_path)
    before = path.read_bytes()
    assert records.write(a_record(), tmp_path) == path
    assert path.read_bytes() == before
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]


# Where a record lies


def test_path_is_made_of_what_identifies_the_run(tmp_path):
    path = records.write(a_record(), tmp_path)
    assert path.parent == tmp_path / "made_up"
    assert path == records.path_for(tmp_path, "made_up", "equal", 0, {"epochs": 2, "tasks": ["a", "b"]})
    others = [
        a_record(experiment="other"),
        a_record(method="dwa"),
        a_record(method="equal(x=1)"),
        a_record(seed=1),
        a_record(parameters={"epochs": 3, "tasks": ["a", "b"]}),
        a_record(parameters={"epochs": 2, "tasks": ["a"]}),
    ]
    assert len({path, *(records.write(other, tmp_path) for other in others)}) == 7
    assert len({a_record().key, *(other.key for other in others)}) == 7


def test_key_depends_on_nothing_else(tmp_path):
    assert a_record(metrics={}, message="m").key == a_record().key
    assert records.key("e", "m", 0, {"a": 1, "b": 2}) == records.key("e", "m", 0, {"b": 2, "a": 1})


def test_key_does_not_change_from_release_to_release():
    # Or else nothing that is committed would be found again.
    assert records.key("adaptive_agnews", "adaptive(detach=false)", 3, {"rate": 0.5, "tasks": ["a"]}) == "696b588332d2"


def test_method_with_options_gives_a_plain_file_name(tmp_path):
    path = records.write(a_record(method="adaptive(every=epoch, detach=true)"), tmp_path)
    assert path.name.startswith("adaptive-every-epoch-detach-true-seed0-")


def test_outcome_leaves_out_what_differs_from_run_to_run():
    outcome = a_record().outcome()
    assert not {"timing", "environment", "source", "started"} & outcome.keys()
    assert {"metrics", "curves", "traces", "status", "message", "selected_epoch", "data", "parameters"} <= (
        outcome.keys()
    )


# Broken, missing and foreign files


@pytest.fixture
def folder(tmp_path):
    """Three records."""
    for seed in range(3):
        records.write(a_record(seed=seed), tmp_path)
    return tmp_path


def broken(path, content):
    path.write_bytes(content)
    with pytest.raises(RecordError) as error:
        records.read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_truncated_by_a_byte_names_the_file_and_spares_the_others(folder):
    (path,) = folder.glob("made_up/*seed1*")
    content = path.read_bytes()
    assert "not a valid run record" in broken(path, content.rstrip()[:-1])
    good, bad = records.read_all(folder)
    assert [record.seed for record in good] == [0, 2]
    assert [str(error).split(": ")[0] for error in bad] == [str(path)]

    status, out, err = check(folder)
    assert status == 1
    assert out == [f"{folder}: 2 records valid, 1 not"]
    assert len(err) == 1
    assert str(path) in err[0]

    path.write_bytes(content)
    assert check(folder) == (0, [f"{folder}: 3 records valid, 0 not"], [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda record: record.pop("metrics"), "metrics: Field required"),
        (lambda record: record.update(note="mine"), "note: Extra inputs"),
        (lambda record: record.update(schema_version=2), "schema_version"),
        (lambda record: record.update(status="fine"), "status"),
        (lambda record: record.update(started="2026-01-01T00:00:00"), "started.*timezone"),
        (lambda record: record["metrics"].update({"test/accuracy/a": "high"}), "metrics.test/accuracy/a"),
        (lambda record: record["curves"].update({"test/loss/a": ["0.5x"]}), "curves.test/loss/a.0"),
        (lambda record: record["data"].update(kind="invented"), "data.kind"),
        (lambda record: record["timing"].pop("steps"), "timing.steps"),
        (lambda record: record.update(traces={"step/loss/a": ["0.5x"]}), "traces.step/loss/a.0"),
    ],
)
def test_record_that_is_not_one(folder, change, message):
    path = sorted(folder.glob("made_up/*"))[0]
    content = json.loads(path.read_text())
    change(content)
    assert re.search(message, broken(path, json.dumps(content).encode()))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{}", b"\xff\xfe", b"hello", b'{"a": 1}', b'"text"'])
def test_foreign_file(folder, content):
    path = folder / "made_up" / "foreign.json"
    assert "not a valid run record" in broken(path, content)
    assert len(records.read_all(folder)[0]) == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record["parameters"].update(epochs=100),
        lambda record: record["parameters"].update(extra=1),
        lambda record: record.update(seed=7),
        lambda record: record.update(method="adaptive"),
        lambda record: record.update(experiment="other"),
    ],
)
def test_edited_parameters_do_not_fit_the_name(folder, change):
    path = sorted(folder.glob("made_up/*"))[0]
    content = json.loads(path.read_text())
    change(content)
    message = broken(path, json.dumps(content).encode())
    assert "its parameters give the key" in message


def test_renamed_record(folder):
    path = sorted(folder.glob("made_up/*"))[0]
    path.rename(path.with_name("equal-seed0-000000000000.json"))
    assert len(records.read_all(folder)[1]) == 1


def test_missing_record(tmp_path):
    with pytest.raises(RecordError, match="cannot be read \\(No such file or directory\\)"):
        records.read(tmp_path / "none.json")


def test_broken_record_is_the_users_to_mend():
    assert issubclass(RecordError, InputError)


def test_records_of_one_experiment(folder):
    records.write(a_record(experiment="other"), folder)
    assert len(records.read_all(folder)[0]) == 4
    assert [record.experiment for record in records.read_all(folder, "other")[0]] == ["other"]
    assert records.read_all(folder, "none") == ([], [])


# A disk that is full, a process that is killed


def test_full_disk_leaves_the_record_before(tmp_path, monkeypatch):
    path = records.write(a_record(message="before"), tmp_path)
    write_text = Path.write_text

    def full(self, text):
        write_text(self, text[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RecordError, match=r"cannot be written \(No space left on device\)") as error:
        records.write(a_record(message="after"), tmp_path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    assert records.read(path).message == "before"
    assert list(path.parent.iterdir()) == [path]


def test_full_disk_leaves_no_half_record(tmp_path, monkeypatch):
    def full(self, text):
        self.write_bytes(b"{")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RecordError):
        records.write(a_record(), tmp_path)
    assert not [each for each in tmp_path.rglob("*") if each.is_file()]


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot be written"):
        records.write(a_record(), tmp_path / "file")


def test_final_name_appears_with_the_last_byte(tmp_path, monkeypatch):
    seen, replace = [], Path.replace

    def watched(self, target):
        seen.append((target.exists(), json.loads(self.read_text())["method"], self.parent == target.parent))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", watched)
    path = records.write(a_record(), tmp_path)
    assert seen == [(False, "equal", True)]
    assert path.exists()


def test_what_a_kill_left_behind_is_no_record(folder):
    (folder / "made_up" / ".equal-seed0-000000000000.json.123.part").write_text("{")
    assert len(records.read_all(folder)[0]) == 3
    assert not records.read_all(folder)[1]


# The schema, the committed records, and what a record says of its code


def test_schema_is_committed():
    assert (ROOT / "record.schema.json").read_text() == records.schema(), (
        "write it again: python -m mtlutils records schema > record.schema.json"
    )


def test_schema_is_that_of_a_record():
    schema = json.loads(records.schema())
    record = a_record().model_dump(mode="json")
    assert schema["properties"].keys() == record.keys()
    # what came later is optional, so that older records stay valid
    assert set(schema["required"]) == record.keys() - {"schema_version", "traces"}
    timing = schema["$defs"]["Timing"]
    assert timing["properties"].keys() == record["timing"].keys()
    assert set(timing["required"]) == record["timing"].keys() - {"processor_seconds_per_step", "step_memory_bytes"}
    assert schema["properties"]["schema_version"]["const"] == 1
    assert schema["additionalProperties"] is False


def test_committed_records_are_valid():
    good, bad = records.read_all(records.committed())
    assert not bad
    assert len({record.key for record in good}) == len(good)
    asked = {}
    for experiment in {record.experiment for record in good}:
        given = [profiles.parameters(each, experiment) or {} for each in ("cpu", "paper")]
        kinds = {value for each in given for name, value in each.items() if f"_{name}".endswith("_data")}
        asked[experiment] = kinds or {"none"}
    for record in good:
        # Stand-in data have no place in results, but where the set may not be passed on and the profile says so.
        kind = record.data.kind
        assert kind in asked[record.experiment], f"{record.key}: on {kind} data, which no profile asks for"
        assert record.source.dirty is False, f"{record.key} was made by code that is in no commit"
        assert record.source.commit


# A record names of a method's options those alone that differ from the defaults: a new default would change what
# the records say.
OF_GRADIENTS = {"gradients": "shared", "heads": "own"}
DEFAULTS = {
    "adaptive": {"detach": True, "every": "step"},
    "aligned_mtl": {**OF_GRADIENTS, "preferences": None, "scale_mode": "min"},
    "cagrad": {**OF_GRADIENTS, "c": 0.4},
    "config": {**OF_GRADIENTS, "preferences": None},
    "dwa": {"temperature": 2.0},
    "equal": {},
    "famo": {"min_losses": 0.0, "weight_learning_rate": 0.025, "weight_decay": 0.001},
    "geometric_mean": {"epsilon": 1e-8},
    "graddrop": {**OF_GRADIENTS, "leak": 0.0},
    "gradient_cosine": {**OF_GRADIENTS, "main": 0, "weighted": False},
    "gradnorm": {
        "alpha": 1.5,
        "weight_learning_rate": 0.025,
        "weight_optimizer": "adam",
        "layer": None,
        "initial_losses": None,
    },
    "gradvac": {**OF_GRADIENTS, "beta": 0.01},
    "imtl_g": OF_GRADIENTS,
    "imtl_l": {},
    "logse": {"form": "sum_of_logs", "factor": 1.0, "epsilon": 1e-8},
    "mgda": {**OF_GRADIENTS, "epsilon": 0.001, "max_iters": 100},
    "nash_mtl": {**OF_GRADIENTS, "max_norm": 1.0, "update_weights_every": 1},
    "orthogonal": {"strength": 0.1, "penalised": "shared", "pairs": "sum"},
    "pareto_mtl": {"preferences": 5, "preference": None, "initial_steps": 938},
    "pcgrad": OF_GRADIENTS,
    "random": OF_GRADIENTS,
    "revised_uncertainty": {"initial": 1.0},
    "rlw": {"distribution": "normal", "total": "n_tasks"},
    "single_step": {"alpha": None, "second_order": False},
    "slaw": {"beta": 0.99, "start": "corrected", "epsilon": 1e-5},
    "split_only": {},
    "stch": {"mu": 1.0, "preferences": None, "reference": 0.0},
    "uncertainty": {"kinds": "classification"},
    "upgrad": {**OF_GRADIENTS, "preferences": None, "reg_eps": 1e-8},
}


def defaults(method):
    """Name -> default of a method's options, those that it inherits included."""
    found = {}
    for each in reversed(type(balancing.create(method, 2)).__mro__):
        options = inspect.signature(each.__init__).parameters.values() if "__init__" in vars(each) else ()
        found |= {option.name: option.default for option in options if option.default is not option.empty}
    found.pop("weighting", None)  # what a gradient method is made of
    return found


def test_defaults_of_the_methods_are_those_that_the_records_were_made_with():
    used = {balancing.parse(record.method)[0] for record in records.read_all(records.committed())[0]}
    used.remove("single_task")
    assert {method: defaults(method) for method in used} == {method: DEFAULTS[method] for method in used}


def test_source_names_the_commit_and_the_code():
    source = records.source()
    assert len(source.digest) == 12
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert source.commit == head.stdout.strip()


def test_source_is_dirty_where_the_package_is_not_as_committed(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True)

    monkeypatch.setattr(folders, "project", lambda: tmp_path)
    code, other = tmp_path / "mtlutils" / "a.py", tmp_path / "README.md"
    code.parent.mkdir()
    for path in (code, other):
        path.write_text("1\n")
    git("init", "--quiet")
    git("add", ".")
    git("commit", "--quiet", "--message", "All")
    assert records.source().dirty is False
    (tmp_path / "mtlutils" / "new").touch()
    other.write_text("2\n")
    assert records.source().dirty is False  # neither is what runs
    code.write_text("2\n")
    assert records.source().dirty is True


def test_source_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(records.folders, "project", lambda: tmp_path)
    assert (records.source().commit, records.source().dirty) == (None, None)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of two files, whose digest is asked for."""
    (tmp_path / "mtlutils" / "inner").mkdir(parents=True)
    (tmp_path / "mtlutils" / "records.py").write_text("a")
    (tmp_path / "mtlutils" / "inner" / "b.py").write_text("b")
    monkeypatch.setattr(records, "__file__", str(tmp_path / "mtlutils" / "records.py"))
    return tmp_path / "mtlutils"


def test_digest_changes_with_every_source_file(package):
    digest = records.source_digest.__wrapped__
    digests = [digest(), digest()]
    assert digests[0] == digests[1]
    (package / "inner" / "b.py").write_text("c")
    digests.append(digest())
    (package / "inner" / "b.py").rename(package / "inner" / "d.py")
    digests.append(digest())
    (package / "e.py").write_text("")
    digests.append(digest())
    (package / "notes.txt").write_text("no code")
    assert digest() == digests[-1]
    assert len(set(digests)) == 4


def test_scratch_records_are_those_of_this_code(folders_of_the_test):
    assert records.scratch() == folders_of_the_test / "records" / records.source_digest()


def test_reading_records_needs_no_torch(folder):
    code = f"""
import sys
from pathlib import Path
from mtlutils import claims, papers, records, report, reproduction
assert len(records.read_all(Path({str(folder)!r}))[0]) == 3
sys.exit("torch" in sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
