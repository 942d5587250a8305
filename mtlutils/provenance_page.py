"""The build, its executed notebooks and the committed records -> the tables of the page on how the book was built."""

import hashlib
import json
import platform
import subprocess
import tomllib
from collections import Counter, defaultdict
from collections.abc import Mapping, Set
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

from packaging.requirements import Requirement

from mtlutils import folders, profiles, records
from mtlutils.errors import InputError
from mtlutils.records import Record, RecordError
from mtlutils.reproduction import PROFILES

Planned = Mapping[str, Mapping[str, Set[str]]]
"""Experiment -> committed profile -> keys of the runs that it asks for."""


class Listing(NamedTuple):
    """A table of the page; its cells are MyST."""

    caption: str
    header: list[str]
    rows: list[list[str]]
    note: str


def listings(notebooks: Path | None = None, asked: Planned | None = None) -> dict[str, Listing]:
    """Return the page's tables, by the names of their parts.

    Args:
        notebooks: Folder of the notebooks that papermill executed for this build; None: it executed none.
        asked: What the committed profiles ask for; None: it is found out.

    Raises:
        InputError: no such folder, or what lies in it is no notebook; or a profile asks for what its experiment lacks.
    """
    now = datetime.now(UTC)
    project = tomllib.loads((folders.project() / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    good, broken = records.read_all(records.committed())
    asked = planned() if asked is None else asked
    return {
        "build": _build(now, project["urls"]["Repository"]),
        "dependencies": _dependencies(project),
        "notebooks": _notebooks(notebooks),
        "records": _records(good, asked, now, project["urls"]["Repository"]),
        "stale": _stale(good, broken, asked),
        "data": _data(good),
    }


def staleness(record: Record, asked: Planned) -> str:
    """Say why a record no longer fits the code; empty: it does.

    Args:
        record: A committed record.
        asked: What the committed profiles ask for.
    """
    from mtlutils import experiments  # which imports torch

    try:
        fields = experiments.load(record.experiment).settings.model_fields.keys()
    except InputError:
        return "there is no such experiment"
    parts = [
        f"{what} {', '.join(f'`{name}`' for name in sorted(names))}"
        for what, names in (
            ("it lacks the parameters", fields - record.parameters.keys()),
            ("no parameters of the experiment are", record.parameters.keys() - fields),
        )
        if names
    ]
    if not parts and not any(record.key in runs for runs in asked.get(record.experiment, {}).values()):
        parts = ["no committed profile asks for it"]
    return "; ".join(parts)


def planned() -> Planned:
    """Return experiment -> profile -> keys of the runs that it asks for.

    Raises:
        InputError: a profile asks for what its experiment lacks.
    """
    from mtlutils import experiments

    found: dict[str, dict[str, set[str]]] = {name: {} for name in experiments.names()}
    for name, asked in found.items():
        for profile in PROFILES:
            parameters = profiles.parameters(profile, name)
            if parameters is not None:
                runs = experiments.plan(name, parameters)
                asked[profile] = {records.key(run.experiment, run.method, run.seed, run.parameters) for run in runs}
    return found


def _build(now: datetime, repository: str) -> Listing:
    lock = folders.project() / "requirements.lock"
    digest = f"`sha256:{hashlib.sha256(lock.read_bytes()).hexdigest()}`" if lock.is_file() else "not there"
    commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    rows = [
        ["Built", f"{now:%Y-%m-%d %H:%M} UTC"],
        ["Git commit", _commit(repository, commit, False)],
        ["Working tree", "no git checkout" if changed is None else _tree(changed)],
        ["`requirements.lock`", digest],
        ["Python", f"{platform.python_version()} ({platform.python_implementation()})"],
        ["Platform", f"{platform.system()} {platform.machine()}"],
    ]
    return Listing(
        "What this site was built from, and on.", ["What", "Value"], rows, "Read off when the site was built."
    )


def _tree(status: str) -> str:
    files = Counter("new" if line.startswith("??") else "changed" for line in status.splitlines())
    counts = ", ".join(f"{n} {what}" for what, n in sorted(files.items()))
    return f"dirty; files that differ from the commit: {counts}" if counts else "clean: as the commit has it"


def _dependencies(project: dict[str, Any]) -> Listing:
    rows = []
    for what, texts in (
        ("the package", project["dependencies"]),
        ("the book", project["optional-dependencies"]["book"]),
    ):
        for required in map(Requirement, texts):
            if required.marker is None or required.marker.evaluate():
                rows.append([f"`{required.name}`", what, f"`{required.specifier}`", _installed(required)])
    return Listing(
        "The direct dependencies. What they need in turn is in the lock file, hash for hash.",
        ["Library", "Needed by", "Asked for", "Installed"],
        rows,
        "From `pyproject.toml`, and from the environment that built the site.",
    )


def _installed(required: Requirement) -> str:
    try:
        found = version(required.name)
    except PackageNotFoundError:
        return "**not installed**"
    return f"`{found}`" if required.specifier.contains(found, prereleases=True) else f"**`{found}`, not as asked for**"


def _notebooks(folder: Path | None) -> Listing:
    if folder is not None and not folder.is_dir():
        raise InputError(f"{folder}: no such folder of executed notebooks")
    rows, total = [], 0.0
    executed = {path.stem: path for path in folder.glob("*.ipynb")} if folder else {}
    there = {path.stem for path in folders.project().glob("notebooks/*.ipynb")}
    for name in sorted(there | executed.keys()):
        status, profile, seconds, started = (
            _execution(executed[name]) if name in executed else ("not run", "", None, "")
        )
        total += seconds or 0
        link = f"[`{name}`](../notebooks/{name}.ipynb)" if name in there else f"`{name}`"
        rows.append([link, status, profile or "–", "–" if seconds is None else f"{seconds:.0f}", started or "–"])
    return Listing(
        "Every notebook in this build. Seconds: from its first cell to its last, on the machine of this build.",
        ["Notebook", "Status", "Profile", "Seconds", "Started"],
        rows,
        f"From what papermill wrote into the executed notebooks, {total:.0f} s in all.",
    )


def _execution(path: Path) -> tuple[str, str, float | None, str]:
    """Status, profile, seconds and start of an executed notebook."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        made, cells = notebook["metadata"].get("papermill"), notebook["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path.name}: not a notebook ({error}); run `make book` again") from error
    if made is None:
        return "not run", "", None, ""
    states = Counter(cell["metadata"].get("papermill", {}).get("status") for cell in cells)
    done = not made["exception"] and states["completed"] == len(cells)
    status = "completed" if done else f"**failed**: {states['completed']} of {len(cells)} cells completed"
    start = datetime.fromisoformat(made["start_time"]).astimezone(UTC)
    return status, made["parameters"].get("profile", "smoke"), made["duration"], f"{start:%Y-%m-%d %H:%M} UTC"


def _records(good: list[Record], asked: Planned, now: datetime, repository: str) -> Listing:
    by_experiment: dict[str, list[Record]] = {name: [] for name in asked}
    for record in good:
        by_experiment.setdefault(record.experiment, []).append(record)
    rows = []
    for name, found in sorted(by_experiment.items()):
        keys = {record.key for record in found}
        devices = {(r.environment.device, r.environment.threads) for r in found}
        commits = {(r.source.commit, bool(r.source.dirty)) for r in found}
        starts = [record.started for record in found]
        rows.append(
            [
                f"`{name}`",
                str(len(found)),
                "; ".join(f"{p}: {len(keys & runs)} of {len(runs)}" for p, runs in asked.get(name, {}).items()) or "–",
                "; ".join(f"{device}, {n} thread{'s' * (n > 1)}" for device, n in sorted(devices)) or "–",
                ", ".join(_commit(repository, *each) for each in sorted(commits, key=str)) or "–",
                *(f"{end(starts):%Y-%m-%d} ({(now - end(starts)).days} d)" if starts else "–" for end in (min, max)),
                str(sum(bool(staleness(record, asked)) for record in found)),
            ]
        )
    return Listing(
        "The committed records by experiment. Profiles: how many of the runs that each asks for have a record. "
        "Oldest, newest: when the run began, and its age in days when this site was built.",
        ["Experiment", "Records", "Profiles", "Devices", "Commits", "Oldest", "Newest", "Stale"],
        rows,
        f"From the {len(good):,} valid records in `results/` and the profiles in `profiles/`.",
    )


def _stale(good: list[Record], broken: list[RecordError], asked: Planned) -> Listing:
    groups: dict[tuple[str, str, str], list[Record]] = defaultdict(list)
    for record in good:
        if why := staleness(record, asked):
            groups[record.experiment, record.method, why].append(record)
    rows = [
        [f"`{experiment}`", f"`{method}`", str(len(found)), why, f"`{file_of(found[0])}`"]
        for (experiment, method, why), found in sorted(groups.items())
    ]
    place = f"{folders.project()}/"
    rows += [["–", "–", "1", str(error).replace(place, ""), "–"] for error in broken]
    return Listing(
        "Records that no longer fit the code, or cannot be read.",
        ["Experiment", "Method", "Records", "Why", "The first of them"],
        rows or [["none", "–", "0", "every record is one that a committed profile asks for", "–"]],
        "A record is stale where its parameters are not those of its experiment's settings, or where no committed "
        "profile asks for a run with them. Its run is made again under another name; it can be deleted.",
    )


def file_of(record: Record) -> str:
    """Return where a committed record lies, from the project's root."""
    parts = record.experiment, record.method, record.seed, record.parameters
    return records.path_for(Path(records.committed().name), *parts).as_posix()


def _data(good: list[Record]) -> Listing:
    counts = Counter(
        (record.data.name, record.data.kind, file, checksum)
        for record in good
        for file, checksum in record.data.checksums.items()
    )
    rows = [[name, kind, f"`{file}`", f"`{sum_}`", str(n)] for (name, kind, file, sum_), n in sorted(counts.items())]
    return Listing(
        "The data behind the committed records, file by file; for generated data, array by array.",
        ["Data set", "Kind", "File", "Checksum", "Records"],
        rows,
        "As the records have them, which is what was read when the run began. "
        f"{sum(not record.data.checksums for record in good):,} records need no data.",
    )


def _commit(repository: str, commit: str | None, dirty: bool) -> str:
    return f"[`{commit[:7]}`]({repository}/commit/{commit}){' + changes' * dirty}" if commit else "no git commit"


def _git(*arguments: str) -> str | None:
    """What git prints; None: there is no git, or no checkout."""
    command = ["git", "-C", str(folders.project()), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
