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
