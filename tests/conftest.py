"""What the tests share: a cache folder of their own, one thread, and no data but what a test asks for."""

import os

import pytest
import torch

torch.set_num_threads(1)
DATA = os.environ.get("MTLUTILS_DATA")


@pytest.fixture(autouse=True)
def folders_of_the_test(tmp_path_factory, monkeypatch):
    """An empty cache and no data, whatever the user's own folders hold."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MTLUTILS_CACHE", str(cache))
    monkeypatch.setenv("MTLUTILS_DATA", str(cache / "data"))
    return cache


@pytest.fixture
def real_data(monkeypatch):
    """The user's own ``MTLUTILS_DATA``, for tests on real data."""
    if not DATA:
        pytest.skip("MTLUTILS_DATA is not set")
    monkeypatch.setenv("MTLUTILS_DATA", DATA)
