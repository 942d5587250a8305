"""The archive: complete, with checksums that hold; and what describes the software says one thing everywhere."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOFTWARE = json.loads((ROOT / "codemeta.json").read_text())


@pytest.fixture(scope="module")
def archive():
    """The script ``book/archive.py`` as a module."""
    specification = importlib.util.spec_from_file_location("archive", ROOT / "book" / "archive.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def tree(tmp_path, archive):
    """A repository with a book of two files and one record."""
    for name, text in {
        "_build/html/index.html": "<p>",
        "_build/html/a/ü.svg": "<svg/>",
        "results/x/1.json": "{}",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in archive.FILES:
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_archive_holds_the_book_the_records_and_sums_that_hold(archive, tree, tmp_path_factory):
    packed = archive.make(tree)
    assert packed == tree / "_build" / "archive" / f"mtl-companion-{SOFTWARE['version']}.tar.gz"
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(packed) as file:
        file.extractall(place, filter="data")
    (folder,) = place.iterdir()
    assert f"{folder.name}.tar.gz" == packed.name
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    made = {"SHA256SUMS", "ro-crate-metadata.json"}
    assert files == made | {"html/index.html", "html/a/ü.svg", "results/x/1.json", *archive.FILES}
    sums = dict(line.split("  ")[::-1] for line in (folder / "SHA256SUMS").read_text().splitlines())
    assert sums == {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in files - {"SHA256SUMS"}}
    assert (folder / "results/x/1.json").read_text() == "{}"


def test_same_contents_give_the_same_bytes_and_others_do_not(archive, tree):
    first = archive.make(tree).read_bytes()
    (tree / "results/x/1.json").touch()
    assert archive.make(tree).read_bytes() == first
    (tree / "results/x/1.json").write_text("[]")
    assert archive.make(tree).read_bytes() != first


def test_archive_without_its_records_is_an_error(archive, tree):
    shutil.rmtree(tree / "results")
    with pytest.raises(FileNotFoundError, match="results"):
        archive.make(tree)


def test_crate_names_what_is_there_and_links_to_nothing_that_it_lacks(archive, tree):
    packed = archive.make(tree)
    folder = packed.with_name(packed.name.removesuffix(".tar.gz"))
    graph = json.loads((folder / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    assert len(entities) == len(graph)
    named = [entity for entity in graph if entity["@type"] in ("Dataset", "File")]
    assert len(named) > len(archive.FILES)
    assert not [entity["@id"] for entity in named if not (folder / entity["@id"]).exists()]
    values = [
        v for entity in graph for value in entity.values() for v in (value if isinstance(value, list) else [value])
    ]
    links = {value["@id"] for value in values if isinstance(value, dict)}
    assert links - {archive.CRATE} <= entities.keys()


def test_crate_is_valid(archive, tree):
    validator = shutil.which("rocrate-validator")
    if validator is None:
        pytest.skip("no rocrate-validator on the PATH: `uv tool install roc-validator`")
    packed = archive.make(tree)
    folder = packed.with_name(packed.name.removesuffix(".tar.gz"))
    command = [validator, "-y", "validate", "--profile-identifier", "ro-crate-1.3", "--output-format", "json"]
    done = subprocess.run([*command, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_codemeta_and_citation_and_project_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert SOFTWARE["name"] == citation["title"] == yaml.safe_load((ROOT / "_config.yml").read_text())["title"]
    assert SOFTWARE["version"] == citation["version"] == project["version"]
    assert SOFTWARE["codeRepository"] == citation["repository-code"] == project["urls"]["Repository"]
    assert SOFTWARE["keywords"] == citation["keywords"]
    assert [author["name"] for author in SOFTWARE["author"]] == [author["name"] for author in citation["authors"]]
    assert citation["license"] == project["license"]
    assert SOFTWARE["license"] == f"https://spdx.org/licenses/{project['license']}"
    assert SOFTWARE["identifier"] == project["name"]
    assert SOFTWARE["description"] == project["description"]
    assert SOFTWARE["runtimePlatform"] == f"Python {project['requires-python']}"
    assert SOFTWARE["softwareRequirements"].startswith(f"{SOFTWARE['codeRepository']}/blob/main/")
    assert (ROOT / SOFTWARE["softwareRequirements"].rsplit("/", 1)[1]).is_file()
