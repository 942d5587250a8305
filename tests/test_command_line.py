"""The command line: what it prints, that a mistake is one line, and that a killed run goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import requests
import torch
from made_up import a_record, accuracy

from mtlutils import __main__ as command_line
from mtlutils import balancing, experiments, folders, ledger, papers, profiles, records
from mtlutils.data import agnews

QUICK = {"epochs": 1, "train_rows": 200, "embedding_dim": 4, "hidden_dim": 4}


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command in this process: exit status, lines on stdout, lines on stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["mtlutils", *map(str, arguments)])
        status = 0
        try:
            command_line.main()
        except SystemExit as exit:
            # as Python itself does
            if isinstance(exit.code, str):
                print(exit.code, file=sys.stderr)
            status = 1 if isinstance(exit.code, str) else exit.code or 0
        out, err = capsys.readouterr()
        return status, out.splitlines(), err.splitlines()

    return run


def quick(**changed):
    return json.dumps(QUICK | changed)


# Mistakes


def agnews_run(*arguments, **parameters):
    return ["run", "adaptive_agnews", "--method", "equal", *arguments, "--parameters", quick(**parameters)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "nonesuch", "--method", "equal"], "unknown experiment 'nonesuch'; there are: adaptive_agnews"),
        (["run", "adaptive_agnews", "--method", "nonesuch"], "unknown method 'nonesuch'; there are: adaptive"),
        (["run", "adaptive_agnews", "--method", "dwa(temperature=-1)"], "temperature"),
        (["run", "adaptive_agnews", "--method", "dwa(("], "is not a method"),
        (agnews_run("--seed", "-1"), "seeds: must be whole numbers from 0, got -1"),
        (agnews_run("--device", "abacus"), "device 'abacus' is not available here"),
        (agnews_run(epochs=-1), "epochs: .* got -1"),
        (agnews_run(epoch=1), "unknown parameter 'epoch'"),
        (agnews_run(train_rows=3000), "has 2,000 rows"),
        (agnews_run(data="real"), "train.csv: .*set MTLUTILS_DATA"),
        (agnews_run(results="x"), "'results' has an option of its own"),
        (agnews_run(methods=["dwa"]), "'methods' has an option of its own"),
        (["run", "adaptive_agnews", "--method", "equal", "--parameters", "{epochs: 1}"], "--parameters is not JSON"),
        (["run", "adaptive_agnews", "--method", "equal", "--parameters", "[1]"], "must be a JSON object, got \\[1\\]"),
        (["run", "adaptive_agnews", "--method", "equal", "--parameters", "3"], "must be a JSON object, got 3"),
        (["records", "check", "/no/such/folder"], "/no/such/folder: no such folder"),
        (["diff", "/no/such/folder", "HEAD"], "/no/such/folder: no such file, folder or git commit"),
    ],
)
def test_mistake_is_one_line(run, arguments, message):
    status, out, err = run(*arguments)
    assert status == 1
    assert out == []
    assert len(err) == 1, err
    assert err[0].startswith("error: ")
    assert re.search(message, err[0])


def test_results_that_cannot_be_written_are_one_line(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, out, err = run(*agnews_run("--results", tmp_path / "file"))
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"error: {tmp_path / 'file'}")
    assert "the record cannot be written" in err[0]


def test_no_network_is_one_line(run, monkeypatch):
    def no_network(*arguments, **options):
        raise requests.ConnectionError("refused\nby everyone")

    monkeypatch.setattr(requests, "get", no_network)
    monkeypatch.setattr(requests.Session, "request", no_network)
    monkeypatch.setattr(agnews.pooch.core.time, "sleep", lambda seconds: None)
    status, out, err = run("data", "get", "agnews")
    assert (status, out, len(err)) == (1, [], 1)
    assert "no connection" in err[0]


def test_broken_file_of_the_data_set_is_one_line(run, monkeypatch, tmp_path):
    folder = tmp_path / "ag_news_csv"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        (folder / name).write_text('"1","a","b"\n"9","a","b"\n')
    monkeypatch.setenv("MTLUTILS_DATA", str(tmp_path))
    status, out, err = run(*agnews_run(data="real"))
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"error: {folder / 'train.csv'}:2: class '9'")


def test_interruption_is_one_line(run, monkeypatch):
    def interrupt(self, run, device):
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments.Experiment, "_measured", interrupt)
    status, out, err = run(*agnews_run())
    assert (status, out) == (1, [])
    assert err[-1] == "interrupted; the same command goes on from the last finished epoch"


def test_mistake_in_the_command_itself_says_how_it_goes(run):
    for arguments in (
        [],
        ["run"],
        ["records"],
        ["run", "adaptive_agnews"],
        ["data", "get", "nonesuch"],
        ["--nonesuch"],
    ):
        status, out, err = run(*arguments)
        assert (status, out) == (2, [])
        assert err[0].startswith("usage: python -m mtlutils")
        assert "error: " in err[-1]


def test_mistake_in_a_process_of_its_own():
    # The tests above take the place of Python's own handling of SystemExit; this one does not.
    done = subprocess.run(
        [sys.executable, "-m", "mtlutils", "records", "check", "/no/such/folder"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: /no/such/folder: no such folder\n")


# What it prints


def test_run_prints_what_it_made_or_loaded(run, tmp_path):
    arguments = ["run", "adaptive_agnews", "--method", "single_task", "--results", tmp_path, "--parameters", quick()]
    for _ in range(2):
        status, out, err = run(*arguments)
        assert (status, err) == (0, [])
        heads, metrics = zip(*(line.split(": completed ") for line in out), strict=True)
        assert heads == ("single_task, seed 0",) * 2
        found = {record.parameters["tasks"][0]: record.metrics for record in records.read_all(tmp_path)[0]}
        assert [json.loads(each) for each in metrics] == [found["2-class"], found["4-class"]]


def test_run_takes_seed_method_and_parameters(run, tmp_path):
    what = ["--seed", "3", "--method", "adaptive(detach=false)", "--parameters", quick(grouping="outer")]
    assert run("run", "adaptive_agnews", *what, "--results", tmp_path)[0] == 0
    (record,), _ = records.read_all(tmp_path)
    assert (record.method, record.seed, record.parameters["grouping"]) == ("adaptive(detach=false)", 3, "outer")


def test_methods(run):
    status, (head, *lines), err = run("methods")
    heading = ["name", "family", "paper", "extra", "passes", "tested", "against"]
    assert (status, head.split(), err) == (0, heading, [])
    assert [line.split()[0] for line in lines] == balancing.names()
    (single_step,) = (line for line in lines if line.startswith("single_step"))
    name, family, paper, passes, tested = re.split("  +", single_step)
    assert (name, family, paper) == ("single_step", "updates", "lee2020")
    assert passes == "T + 1 forward, 2T - 1 backward + heads"
    assert tested.startswith("closed form")


def test_schema(run):
    status, out, _ = run("records", "schema")
    assert status == 0
    assert "\n".join(out) + "\n" == records.schema()


def test_records_check(run, tmp_path):
    records.write(a_record(), tmp_path)
    assert run("records", "check", tmp_path) == (0, [f"{tmp_path}: 1 records valid, 0 not"], [])
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text("{}")
    status, out, err = run("records", "check", tmp_path)
    assert status == 1
    assert out == [f"{tmp_path}: 1 records valid, 2 not"]
    assert [line.split(": ")[0] for line in err] == [str(tmp_path / "a.json"), str(tmp_path / "b.json")]


@pytest.fixture
def verdicts(monkeypatch, tmp_path):
    """Verdicts on one paper, of nothing but made-up records of one table, to be committed to a folder of the test."""
    monkeypatch.setattr(ledger, "committed", lambda: tmp_path / "verdicts.json")
    monkeypatch.setattr(papers, "names", lambda: ["huq2022"])
    entries, found = ledger.entries, []
    monkeypatch.setattr(ledger, "entries", lambda: entries(found, {"adaptive_agnews"}))
    return found


def ahead(n_seeds):
    """Records of the profile cpu in which adaptive weights are ahead of equal ones."""
    asked = profiles.parameters("cpu", "adaptive_agnews")
    settings = {name: asked[name] for name in ("data", "epochs", "learning_rate", "train_rows")}
    return [
        accuracy(method, seed, value - seed / 1000, value - seed / 1000, **settings)
        for method, value in (("adaptive", 0.9), ("equal", 0.5))
        for seed in range(n_seeds)
    ]


def test_claims_prints_the_ledger(run, verdicts):
    verdicts += ahead(3)
    status, out, err = run("claims")
    assert (status, err) == (0, [])
    assert out == ledger.as_text(ledger.entries()).splitlines()
    status, out, err = run("claims", "--json")
    assert (status, err) == (0, [])
    assert json.loads("\n".join(out)) == ledger.as_json(ledger.entries())


def test_claims_check_names_what_flipped_and_update_accepts_it(run, verdicts):
    path = ledger.committed()
    status, out, err = run("claims", "check")
    assert (status, out, len(err)) == (1, [], 1)
    assert err[0].startswith(f"error: {path}: cannot be read")

    verdicts += ahead(3)
    assert run("claims", "update") == (0, [str(path)], [])
    n = len(ledger.entries())
    assert run("claims", "check") == (0, [f"{path}: {n} verdicts as committed"], [])

    # Other numbers, and the same verdicts.
    verdicts[:] = ahead(4)
    status, out, err = run("claims", "check")
    assert (status, err) == (0, [])
    assert re.match(rf"{path}: {n} verdicts as committed, [1-9]\d* of them from other numbers; .*claims update", out[0])

    verdicts[:] = ahead(10)
    before = path.read_text()
    status, out, (*flips, error) = run("claims", "check")
    assert (status, out) == (1, [])
    names = [flip.split(":")[0] for flip in flips]
    assert names == ["huq2022/table3-second", "huq2022/table3-vanilla", "huq2022/table3-vanilla-best"]
    old, new = r"undecided \(MTL - Ours against .* n = 3\)", r"reproduced \(.* \+40 points .* n = 10\)"
    assert re.fullmatch(f"huq2022/table3-vanilla: {old} -> {new}", flips[1])
    assert error == f"error: 3 verdicts differ from {path}; `python -m mtlutils claims update` accepts them"
    assert path.read_text() == before
    assert run("claims", "update")[0] == run("claims", "check")[0] == 0


def test_diff(run, tmp_path):
    for name, value in (("a", 0.5), ("b", 0.75)):
        records.write(a_record(metrics={"test/accuracy/a": value}), tmp_path / name)
    status, out, err = run("diff", tmp_path / "a", tmp_path / "b")
    assert (status, err) == (0, [])
    assert out[-1].strip() == "test/accuracy/a: 0.5 (n = 1) -> 0.75 (n = 1); B - A +0.25 (n = 1)"
    status, out, err = run("diff", tmp_path / "a", tmp_path / "b", "--json")
    assert (status, err) == (0, [])
    (metric,) = json.loads("\n".join(out))["metrics"]
    assert metric["difference"] == {"mean": 0.25, "half": None, "n": 1}


def test_report_writes_the_parts_of_pages(run, tmp_path):
    assert run("report", "--output", tmp_path / "parts")[0] == 0
    assert (tmp_path / "parts" / "scoreboard.md").is_file()


def test_data_get_prints_where_the_data_are(run, monkeypatch, tmp_path):
    monkeypatch.setattr(agnews, "download", lambda: tmp_path)
    assert run("data", "get", "agnews") == (0, [str(tmp_path)], [])


def test_help_says_where_data_go(run, monkeypatch):
    monkeypatch.setenv("MTLUTILS_DATA", "/some/where")
    monkeypatch.setenv("COLUMNS", "200")
    status, out, _ = run("data", "--help")
    assert status == 0
    assert "/some/where" in "\n".join(out)


def test_light_commands_start_without_torch():
    code = (
        "import sys; sys.argv = ['mtlutils', 'methods']; from mtlutils.__main__ import main; main(); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_experiments_are_planned_without_pytorchs_compiler():
    # which torchvision and torchmetrics import, and which takes as long as all of PyTorch besides
    code = (
        "import sys; from mtlutils.experiments import registry; "
        "[registry.load(name).plan(['equal'], [0]) for name in registry.names()]; "
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Killed


def test_killed_run_goes_on_and_ends_as_an_uninterrupted_one(run, tmp_path):
    settings = QUICK | {"epochs": 150}  # more than are over between two looks at the folder
    command = ["run", "adaptive_agnews", "--method", "adaptive", "--results", tmp_path]
    command += ["--parameters", json.dumps(settings)]
    checkpoints = folders.cache() / "checkpoints"

    process = subprocess.Popen(
        [sys.executable, "-m", "mtlutils", *command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*.pt")):
        assert process.poll() is None, process.stderr.read().decode()
        assert time.monotonic() < deadline
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    assert not list(tmp_path.rglob("*.json")), "it was killed too late to prove anything"
    (checkpoint,) = checkpoints.glob("*.pt")
    # Time that it took before counts in the end, which shows that it went on from here.
    stored = torch.load(checkpoint, weights_only=True)
    assert 0 < stored["progress"]["epoch"] < settings["epochs"]
    stored["progress"]["seconds"] += 1e6
    torch.save(stored, checkpoint)

    status, _, _ = run(*command)
    assert status == 0
    (record,), problems = records.read_all(tmp_path)
    assert not problems
    assert not list(checkpoints.glob("*.pt"))
    expected = experiments.load("adaptive_agnews").run("adaptive", 0, results=tmp_path / "whole", **settings)
    assert record.outcome() == expected.outcome()
    assert record.timing.total_seconds > 1e6 > expected.timing.total_seconds


def test_reader_that_leaves_early_is_no_error():
    # As with `| head -1`: by the time that the table is there, nobody reads it.
    process = subprocess.Popen(
        [sys.executable, "-m", "mtlutils", "methods"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    assert (process.stderr.read(), process.wait()) == (b"", 0)
