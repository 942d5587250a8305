"""Where data sets, caches and run records lie."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pooch

_PACKAGE = Path(__file__).resolve().parent


def project() -> Path:
    """Root of the checkout that this package runs from; the working folder where it was installed without one."""
    root = _PACKAGE.parent
    return root if (root / "pyproject.toml").is_file() else Path.cwd()


def data() -> Path:
    """Folder of the real data sets: ``MTLUTILS_DATA``, or ``data`` in the user's cache folder."""
    return Path(os.environ.get("MTLUTILS_DATA") or pooch.os_cache("mtlutils") / "data").expanduser()


def cache() -> Path:
    """Folder of everything that can be made again: ``MTLUTILS_CACHE``, or the user's cache folder."""
    return Path(os.environ.get("MTLUTILS_CACHE") or pooch.os_cache("mtlutils")).expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place only when the block ends without an error.

    A reader, a kill or a full disk therefore never meets half a file under the final name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
