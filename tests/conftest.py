"""What the tests share: a cache folder of their own, one thread, and no data but what a test asks for."""

import itertools
import os

import pytest
import torch

torch.set_num_threads(1)
DATA = os.environ.get("MTLUTILS_DATA")
NUMBERS = itertools.count()
# Files that take longest: the last file to start ends alone.
FIRST = ["test_documents", "test_balancing", "test_training", "test_benchmarks", "test_command_line", "test_run_graph"]


def pytest_collection_modifyitems(items):
    """Start the longest files first."""
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(autouse=True)
def folders_of_the_test(tmp_path_factory, monkeypatch):
    """An empty cache and no data, whatever the user's own folders hold."""
    # pytest's own mktemp looks through all the folders there are, at each of thousands of tests.
    cache = tmp_path_factory.getbasetemp() / f"cache{next(NUMBERS)}"
    cache.mkdir()
    monkeypatch.setenv("MTLUTILS_CACHE", str(cache))
    monkeypatch.setenv("MTLUTILS_DATA", str(cache / "data"))
    return cache


@pytest.fixture
def real_data(monkeypatch):
    """The user's own ``MTLUTILS_DATA``, for tests on real data."""
    if not DATA:
        pytest.skip("MTLUTILS_DATA is not set")
    monkeypatch.setenv("MTLUTILS_DATA", DATA)
