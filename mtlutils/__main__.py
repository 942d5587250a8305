"""Command line: ``python -m mtlutils --help``."""

import argparse
import json
import os
import sys
from pathlib import Path

from mtlutils import balancing, folders, records
from mtlutils.errors import InputError

# Modules that need torch, or much time to import, are imported by the command that needs them.


def _data_get(arguments: argparse.Namespace) -> None:
    from mtlutils.data import agnews, cifar100, multi_mnist

    if arguments.name in ("mnist", "fashion_mnist"):
        print(multi_mnist.download(arguments.name))
    else:
        print({"agnews": agnews, "cifar100": cifar100}[arguments.name].download())


def _run(arguments: argparse.Namespace) -> None:
    from mtlutils import experiments

    try:
        parameters = json.loads(arguments.parameters)
    except json.JSONDecodeError as error:
        raise InputError(f"--parameters is not JSON: {error}") from error
    if not isinstance(parameters, dict):
        raise InputError(f"--parameters must be a JSON object, got {arguments.parameters}")
    for name in sorted(parameters.keys() & {"methods", "seeds", "results", "device"}):
        raise InputError(f"--parameters: {name!r} has an option of its own")
    experiment = experiments.load(arguments.experiment)
    done = experiment.runs(
        [arguments.method], [arguments.seed], results=arguments.results, device=arguments.device, **parameters
    )
    for record in done:
        print(f"{record.method}, seed {record.seed}: {record.status} {json.dumps(record.metrics)}")


def _estimate(arguments: argparse.Namespace) -> None:
    from mtlutils import experiments, profiles

    parameters = profiles.parameters(arguments.profile, arguments.experiment)
    if parameters is None:
        raise InputError(f"there is no profile {arguments.profile} of {arguments.experiment}")
    experiment = experiments.load(arguments.experiment)
    print(experiment.estimate(experiment.plan_notebook(parameters), arguments.device))


def _records_check(arguments: argparse.Namespace) -> None:
    if not arguments.folder.is_dir():
        raise InputError(f"{arguments.folder}: no such folder")
    good, bad = records.read_all(arguments.folder)
    for error in bad:
        print(error, file=sys.stderr)
    print(f"{arguments.folder}: {len(good)} records valid, {len(bad)} not")
    if bad:
        raise SystemExit(1)


def _records_schema(arguments: argparse.Namespace) -> None:
    print(records.schema(), end="")


def _methods(arguments: argparse.Namespace) -> None:
    rows = [("name", "family", "paper", "extra passes", "tested against")]
    rows += [(m.name, m.family, m.paper, m.passes, m.tested) for m in balancing.methods()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _claims(arguments: argparse.Namespace) -> None:
    from mtlutils import ledger

    found = ledger.entries()
    print(ledger.dumps(ledger.as_json(found)) if arguments.json else ledger.as_text(found) + "\n", end="")


def _claims_check(arguments: argparse.Namespace) -> None:
    from mtlutils import ledger

    path = ledger.committed()
    old, new = ledger.read(path), ledger.as_json(ledger.entries())
    flips = ledger.flips(old, new)
    for flip in flips:
        print(flip, file=sys.stderr)
    if flips:
        raise InputError(f"{len(flips)} verdicts differ from {path}; `python -m mtlutils claims update` accepts them")
    changed = sum(old[name] != new[name] for name in new)
    hint = f", {changed} of them from other numbers; `python -m mtlutils claims update` writes them" if changed else ""
    print(f"{path}: {len(new)} verdicts as committed{hint}")


def _claims_update(arguments: argparse.Namespace) -> None:
    from mtlutils import ledger

    with folders.replacing(ledger.committed()) as temporary:
        temporary.write_text(ledger.dumps(ledger.as_json(ledger.entries())), encoding="utf-8")
    print(ledger.committed())


def _diff(arguments: argparse.Namespace) -> None:
    from mtlutils import differences

    found = differences.between(arguments.a, arguments.b)
    print(json.dumps(found.as_json(), indent=1, ensure_ascii=False) if arguments.json else found.as_text())


def _report(arguments: argparse.Namespace) -> None:
    from mtlutils import pages

    pages.write(arguments.output, arguments.notebooks)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m mtlutils", description="The companion's experiments and reports.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    data = commands.add_parser("data", help="get data sets").add_subparsers(required=True, metavar="get")
    what = f"download a data set to {folders.data()} (MTLUTILS_DATA changes it)"
    get = data.add_parser("get", help=what, description=what)
    get.add_argument("name", choices=["agnews", "cifar100", "mnist", "fashion_mnist"])
    get.set_defaults(function=_data_get)

    run = commands.add_parser("run", help="make one run, or load it where its record is there")
    run.add_argument("experiment", help="the notebook's name")
    run.add_argument("--method", required=True, help="a balancing method, or single_task")
    run.add_argument("--seed", type=int, default=0)
    run.add_argument("--parameters", default="{}", help="the other parameters, as JSON")
    run.add_argument(
        "--results", default="", help="folder of the records, from the project's root; default: a scratch folder"
    )
    run.add_argument("--device", default="auto", help="auto, cpu or cuda")
    run.set_defaults(function=_run)

    estimate = commands.add_parser("estimate", help="measure a few steps, and say what a profile's runs will take")
    estimate.add_argument("experiment", help="the notebook's name")
    estimate.add_argument("--profile", default="paper", help="default: paper")
    estimate.add_argument("--device", default="auto", help="auto, cpu or cuda")
    estimate.set_defaults(function=_estimate)

    record = commands.add_parser("records", help="check run records").add_subparsers(required=True, metavar="COMMAND")
    check = record.add_parser("check", help="validate every record in a folder")
    check.add_argument("folder", type=Path, nargs="?", default=records.committed())
    check.set_defaults(function=_records_check)
    record.add_parser("schema", help="print the JSON schema").set_defaults(function=_records_schema)

    methods = commands.add_parser("methods", help="list the balancing methods")
    methods.set_defaults(function=_methods)

    what = "the verdict on every claim of the papers, from the committed records"
    claims = commands.add_parser("claims", help=what, description=what)
    claims.add_argument("--json", action="store_true", help="as JSON, with every comparison")
    claims.set_defaults(function=_claims)
    verdicts = claims.add_subparsers(metavar="COMMAND")
    verdicts.add_parser("check", help="fail where a verdict differs from verdicts.json").set_defaults(
        function=_claims_check
    )
    verdicts.add_parser("update", help="write verdicts.json").set_defaults(function=_claims_update)

    what = "what differs between two records, two folders of records, or the results of two git commits"
    diff = commands.add_parser("diff", help=what, description=what)
    diff.add_argument("a", metavar="A", help="a record's file, a folder or a commit")
    diff.add_argument("b", metavar="B", help="the same")
    diff.add_argument("--json", action="store_true", help="as JSON")
    diff.set_defaults(function=_diff)

    report = commands.add_parser("report", help="write the parts of the book that are made from records")
    report.add_argument("--output", type=Path, required=True, help="folder to write to")
    report.add_argument("--notebooks", type=Path, help="folder of the executed notebooks, for their times and status")
    report.set_defaults(function=_report)
    return parser


def main() -> None:
    """Run the command line; a mistake of the user's ends in one line and exit status 1."""
    arguments = _parser().parse_args()
    try:
        arguments.function(arguments)
        sys.stdout.flush()
    except InputError as error:
        raise SystemExit(f"error: {error}") from None
    except BrokenPipeError:  # the reader, such as `head`, has seen enough; what is left must not fail at exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        raise SystemExit("interrupted; the same command goes on from the last finished epoch") from None


if __name__ == "__main__":
    main()
