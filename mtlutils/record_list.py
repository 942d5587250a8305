"""Every committed record in a line of a table, to be opened in a spreadsheet: its age, its origin, what rests on it."""

from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from mtlutils import folders, records
from mtlutils.ledger import Entry
from mtlutils.provenance_page import Planned, file_of, staleness


def write(path: Path, entries: list[Entry], asked: Planned) -> None:
    """Write the committed records as comma-separated values, a line each in the order of their files.

    Args:
        path: The file.
        entries: The ledger.
        asked: What the committed profiles ask for.
    """
    now = datetime.now(UTC)
    claims = defaultdict(list)
    for entry in entries:
        for record in entry.records:
            claims[record.key].append(entry.id)
    good, _ = records.read_all(records.committed())
    rows = [
        {
            "file": file_of(record),
            "experiment": record.experiment,
            "method": record.method,
            "seed": record.seed,
            "data": record.data.name,
            "kind of data": record.data.kind,
            "status": record.status,
            "begun (UTC)": f"{record.started.astimezone(UTC):%Y-%m-%d %H:%M}",
            "age when this was written (days)": (now - record.started).days,
            "took (s)": round(record.timing.total_seconds, 1),
            "device": record.environment.device,
            "commit": record.source.commit,
            "stale": staleness(record, asked),
            "claims": " ".join(claims[record.key]),
        }
        for record in good
    ]
    with folders.replacing(path) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False)
