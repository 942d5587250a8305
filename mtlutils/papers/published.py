"""What all published things have in common."""

from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict


class Published(BaseModel):
    """Something that a paper has published: typed in once, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def distinct(where: str, what: str, ids: Iterable[str]) -> list[str]:
    """Return the ids; ValueError if one appears twice."""
    ids = list(ids)
    twice: Iterator[str] = (each for each in ids if ids.count(each) > 1)
    if (first := next(twice, None)) is not None:
        raise ValueError(f"{where}: {what} {first!r} appears twice")
    return ids


def known(where: str, what: str, ids: Iterable[str], among: Iterable[str]) -> None:
    """Raise ValueError if one of the ids is not ``among`` those that there are."""
    among = list(among)
    for each in ids:
        if each not in among:
            raise ValueError(f"{where}: unknown {what} {each!r}; known: {', '.join(among)}")
