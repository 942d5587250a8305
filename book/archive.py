#!/usr/bin/env python
"""Packs the built book, its records and what describes them into one file; equal contents give equal bytes.

    python book/archive.py

In `_build/archive/mtl-companion-VERSION/` lies what `mtl-companion-VERSION.tar.gz` beside it holds. It is a research
object by RO-Crate 1.3, https://w3id.org/ro/crate/1.3.
"""

import gzip
import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

CRATE = "https://w3id.org/ro/crate/1.3"
FOLDERS = {
    "html": ("The built book", "Open html/index.html in a browser; nothing is loaded from elsewhere."),
    "results": ("Run records", "One JSON file a training run, by experiment; record.schema.json is their schema."),
}
FILES = {
    "CITATION.cff": ("How to cite the book", "text/yaml"),
    "LICENSE": ("Licence", "text/plain"),
    "codemeta.json": ("The software in CodeMeta's terms", "application/ld+json"),
    "record.schema.json": ("JSON schema of a run record", "application/schema+json"),
    "requirements.lock": ("Every library that the book was made with, with hashes", "text/plain"),
}
SUMS = "SHA256SUMS"


def make(root: Path) -> Path:
    """Make the archive from a repository with a built book, and return its path.

    Raises:
        FileNotFoundError: something that belongs in it is not there.
    """
    software = json.loads((root / "codemeta.json").read_text(encoding="utf-8"))
    folder = root / "_build" / "archive" / f"mtl-companion-{software['version']}"
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, source in {"html": root / "_build" / "html", "results": root / "results"}.items():
        shutil.copytree(source, folder / name)
    for name in FILES:
        shutil.copy(root / name, folder)
    metadata = json.dumps(crate(software, date(root)), indent=2, ensure_ascii=False)
    (folder / "ro-crate-metadata.json").write_text(metadata + "\n", encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}" for path in files
    ]
    (folder / SUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return packed(folder)


def packed(folder: Path) -> Path:
    """Pack a folder into a file beside it, without the times and owners of its files."""
    target = folder.with_name(f"{folder.name}.tar.gz")
    with (
        target.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            entry = tarfile.TarInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}")
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return target


def date(root: Path) -> str:
    """Return the day of the commit that the book was built from; outside a checkout, today."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%cs"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return f"{datetime.now(UTC):%Y-%m-%d}"


def crate(software: dict[str, Any], published: str) -> dict[str, Any]:
    """Return the archive's RO-Crate metadata.

    Args:
        software: What `codemeta.json` says.
        published: A day, as ISO 8601 writes it.
    """
    authors = [{"@id": f"#author-{i}", "@type": a["type"], "name": a["name"]} for i, a in enumerate(software["author"])]
    licence = {"@id": software["license"], "@type": "CreativeWork", "name": software["license"].rsplit("/", 1)[-1]}
    licence["description"] = f"The {licence['name']} licence; its text is in the file LICENSE."
    parts = [
        {"@id": f"{name}/", "@type": "Dataset", "name": title, "description": text}
        for name, (title, text) in FOLDERS.items()
    ]
    texts = FILES | {SUMS: ("SHA-256 of every other file, for `sha256sum -c`", "text/plain")}
    parts += [
        {"@id": name, "@type": "File", "name": name, "description": text, "encodingFormat": media}
        for name, (text, media) in texts.items()
    ]
    code = {
        "@id": software["codeRepository"],
        "@type": "SoftwareApplication",  # as source code it would have to be a file of the archive
        "name": software["identifier"],
        "version": software["version"],
        "softwareRequirements": software["runtimePlatform"],
        "url": software["codeRepository"],
    }
    whole = {
        "@id": "./",
        "@type": "Dataset",
        "name": software["name"],
        "description": software["description"],
        "version": software["version"],
        "keywords": ", ".join(software["keywords"]),
        "datePublished": published,
        "license": {"@id": licence["@id"]},
        "author": [{"@id": author["@id"]} for author in authors],
        "isBasedOn": {"@id": code["@id"]},
        "hasPart": [{"@id": part["@id"]} for part in parts],
    }
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "about": {"@id": whole["@id"]},
        "conformsTo": {"@id": CRATE},
    }
    return {"@context": f"{CRATE}/context", "@graph": [descriptor, whole, *parts, code, licence, *authors]}


if __name__ == "__main__":
    repository = Path(__file__).resolve().parents[1]
    if not (repository / "_build" / "html" / "index.html").is_file():
        sys.exit("error: no built book; run `make book` first")
    print(f"The archive: {make(repository)}")
