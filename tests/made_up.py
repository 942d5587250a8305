"""Records for tests."""

from datetime import UTC, datetime

from mtlutils.records import Record


def a_record(**changed):
    """A small valid record, but for the fields given."""
    content = {
        "experiment": "made_up",
        "method": "equal",
        "seed": 0,
        "parameters": {"epochs": 2, "tasks": ["a", "b"]},
        "data": {
            "name": "made up",
            "kind": "real",
            "description": "made up: 3 rows",
            "checksums": {"train.csv": "md5:0"},
            "sizes": {"train": 2, "test": 1},
        },
        "status": "completed",
        "message": "",
        "selected_epoch": 2,
        "curves": {"test/loss/a": [1.5, 0.5], "test/loss/b": [2.0, 1.0]},
        "metrics": {"test/accuracy/a": 0.75, "test/accuracy/b": 0.5},
        "timing": {"total_seconds": 1.5, "seconds_per_step": 0.01, "steps": 100, "peak_memory_bytes": 1000},
        "environment": {"device": "a processor", "threads": 1, "platform": "Linux", "versions": {"torch": "2.0"}},
        "source": {"commit": "0123456789abcdef", "dirty": False, "digest": "0123456789ab"},
        "started": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
    }
    return Record.model_validate(content | changed)


SETTINGS = {"learning_rate": 1.0, "epochs": 2, "train_rows": 100}


def accuracy(method, seed, two, four, kind="real", status="completed", **parameters):
    """A record of ``adaptive_agnews`` with the given test accuracies, and validation accuracies 0.1 below."""
    metrics = {"test/accuracy/2-class": two, "test/accuracy/4-class": four}
    metrics = {name: value for name, value in metrics.items() if value is not ...}
    tasks = [name.rsplit("/", 1)[1] for name in metrics]
    validation = {n.replace("test", "validation"): None if v is None else v - 0.1 for n, v in metrics.items()}
    return a_record(
        experiment="adaptive_agnews",
        method=method,
        seed=seed,
        parameters={**SETTINGS, "tasks": tasks, **parameters},
        data=a_record().data.model_dump() | {"kind": kind},
        status=status,
        metrics=metrics | validation,
    )


def cost(method, seed, n_tasks, seconds, ratio):
    """A record of ``weighting_cost`` with the given medians, and quartiles 10 % from them."""
    quartiles = ("lower_quartile", "median", "upper_quartile")
    metrics = {f"seconds/{name}": seconds * (0.9 + i / 10) for i, name in enumerate(quartiles)}
    metrics |= {f"ratio/{name}": ratio * (0.9 + i / 10) for i, name in enumerate(quartiles)}
    return a_record(
        experiment="weighting_cost",
        method=method,
        seed=seed,
        parameters={"n_tasks": n_tasks, "rounds": 4},
        metrics=metrics,
    )


def filling(table, row, column, value, seed=0, kind="real", **parameters):
    """A record whose metric fills a cell of a published table; further parameters change what it was made with."""
    return a_record(
        experiment=table.experiment,
        method=table.row(row).method,
        seed=seed,
        parameters=table.column(column).parameters
        | table.row(row).parameters
        | {"fills": column, "data": kind}
        | parameters,
        data=a_record().data.model_dump() | {"kind": kind, "description": f"{kind}: 3 rows"},
        metrics={table.metric_key(column): value},
    )
