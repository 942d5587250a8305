"""Balancing methods by name."""

from __future__ import annotations

import copy
import pkgutil
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Literal

import yaml

from mtlutils import yaml12
from mtlutils.balancing import options as options_of
from mtlutils.errors import InputError

if TYPE_CHECKING:
    from mtlutils.balancing.balancer import Balancer

    Place = str | Callable[..., Balancer]
    Entry = tuple[Place, "Family", str, "Passes", str]

Family = Literal["", "losses", "gradients", "updates"]
"""What a method does: weighs the losses, combines the tasks' gradients, changes the update rule; "" if not known."""

Passes = Literal[
    "",
    "none",
    "1 forward",
    "1 forward + heads",
    "heads",
    "T - 1 backward",
    "3T - 1 backward",
    "T + 1 forward, 2T - 1 backward + heads",
]
"""What a step takes beyond one forward and one backward pass; "heads" are T backward passes no further than these."""


@dataclass(frozen=True)
class Method:
    """What is known of a method without importing it."""

    name: str
    family: Family
    paper: str
    """Its key in ``book/references.bib``."""
    passes: Passes
    where: str
    """``"package.module:Class"``."""
    tested: str = ""
    """What its own tests hold it to, besides the properties that all methods share."""


# Where each method is, rather than the method: listing them, as reports do, then needs no torch. The place alone is
# enough; with it may stand the family, the paper, the extra passes, and what its tests hold it to.
# fmt: off
_METHODS: dict[str, Place | Entry] = {
    "adaptive": ("mtlutils.balancing.adaptive:Adaptive", "losses", "huq2022", "none",
        "weights and their derivative by hand; the total n Q / S; one clock against the other"),
    "aligned_mtl": ("mtlutils.balancing.aligned_mtl:AlignedMTL", "gradients", "senushkin2023", "T - 1 backward",
        "singular values of the aligned gradients; orthogonal gradients by hand"),
    "cagrad": ("mtlutils.balancing.cagrad:CAGrad", "gradients", "liu2021cagrad", "T - 1 backward",
        "two pairs of gradients by hand; the mean at c = 0; no loss rises at c = 1"),
    "config": ("mtlutils.balancing.config:ConFIG", "gradients", "liu2024", "T - 1 backward",
        "TorchJD's aggregator; equal cosines; orthogonal gradients by hand; no loss rises"),
    "dwa": ("mtlutils.balancing.dwa:DWA", "losses", "liu2019", "none",
        "weights by hand over three epochs; equal weights at a high temperature"),
    "equal": ("mtlutils.balancing.equal:Equal", "losses", "caruana1997", "none",
        "the sum of the losses; weights of 1"),
    "famo": ("mtlutils.balancing.famo:FAMO", "losses", "liu2023", "1 forward",
        "two steps by hand, with Adam's first"),
    "geometric_mean": ("mtlutils.balancing.geometric_mean:GeometricMean", "losses", "chennupati2019", "none",
        "two losses by hand"),
    "graddrop": ("mtlutils.balancing.graddrop:GradDrop", "gradients", "chen2020", "T - 1 backward",
        "how often each sign is kept; the sum where all leaks or nothing conflicts"),
    "gradient_cosine": ("mtlutils.balancing.gradient_cosine:GradientCosine", "gradients", "du2018", "T - 1 backward",
        "gradients by hand; descent on the main loss; data where it is known which task helps"),
    "gradnorm": ("mtlutils.balancing.gradnorm:GradNorm", "losses", "chen2018", "heads",
        "two updates by hand; its closed form against automatic differentiation; PyTorch's Adam"),
    "gradvac": ("mtlutils.balancing.gradvac:GradVac", "gradients", "wang2021", "T - 1 backward",
        "two steps by hand, the first being pcgrad's"),
    "imtl_g": ("mtlutils.balancing.imtl_g:IMTLG", "gradients", "liu2021imtl", "T - 1 backward",
        "equal projections; orthogonal gradients by hand"),
    "imtl_l": ("mtlutils.balancing.imtl_l:IMTLL", "losses", "liu2021imtl", "none",
        "a step of its scales by hand"),
    "logse": ("mtlutils.balancing.logse:LogSE", "losses", "ghaseminaraghi2022", "none",
        "two losses by hand; what uncertainty of regression tasks ends at"),
    "mgda": ("mtlutils.balancing.mgda:MGDA", "gradients", "sener2018", "T - 1 backward",
        "three pairs of gradients by hand; no loss rises"),
    "nash_mtl": ("mtlutils.balancing.nash_mtl:NashMTL", "gradients", "navon2022", "T - 1 backward",
        "its equation; TorchJD's solver; one gradient and orthogonal ones by hand; no loss rises"),
    "orthogonal": ("mtlutils.balancing.orthogonal:Orthogonal", "gradients", "suteu2019", "3T - 1 backward",
        "finite differences; penalties by hand; equal weights at strength 0"),
    "pareto_mtl": ("mtlutils.balancing.pareto_mtl:ParetoMTL", "gradients", "lin2019", "T - 1 backward",
        "both phases by hand; SciPy's SLSQP; mgda where there is one preference"),
    "pcgrad": ("mtlutils.balancing.pcgrad:PCGrad", "gradients", "yu2020", "T - 1 backward",
        "two conflicting gradients by hand; the sum without a conflict"),
    "random": ("mtlutils.balancing.random:RandomGradient", "gradients", "lin2022", "T - 1 backward",
        "the softmax of the same draws"),
    "revised_uncertainty": ("mtlutils.balancing.revised_uncertainty:RevisedUncertainty", "losses", "liebel2018", "none",
        "a step of its parameters by hand, from two starts"),
    "rlw": ("mtlutils.balancing.rlw:RLW", "losses", "lin2022", "none",
        "the softmax of the same draws; mean and variance of five distributions"),
    "single_step": ("mtlutils.balancing.single_step:SingleStep", "updates", "lee2020",
        "T + 1 forward, 2T - 1 backward + heads", "closed form on parabolas; an oracle that copies the network"),
    "slaw": ("mtlutils.balancing.slaw:SLAW", "losses", "crawshaw2021", "none",
        "three steps by hand; its other starts from their formula"),
    "split_only": ("mtlutils.balancing.split_only:SplitOnly", "updates", "lee2020", "1 forward + heads",
        "closed form on parabolas; an oracle that copies the network; equal weights' shared update"),
    "stch": ("mtlutils.balancing.stch:STCH", "losses", "lin2024", "none",
        "weights and total by hand; the largest loss alone at a small mu"),
    "uncertainty": ("mtlutils.balancing.uncertainty:Uncertainty", "losses", "kendall2018", "none",
        "a step of its parameters by hand, for both kinds of task"),
    "upgrad": ("mtlutils.balancing.upgrad:UPGrad", "gradients", "quinton2024", "T - 1 backward",
        "three pairs of gradients by hand; weights no smaller than the mean's; no loss rises"),
}
# fmt: on


def register(
    name: str, method: Place, *, family: Family = "", paper: str = "", passes: Passes = "", tested: str = ""
) -> None:
    """Make a method known by name.

    Args:
        name: A lower-case identifier that no other method has.
        method: A subclass of ``Balancer``, or where to import it from, ``"package.module:Class"``. It is called with
            ``n_tasks`` and its options.
        family: What it does, for the list of the methods.
        paper: Its paper's key in ``book/references.bib``.
        passes: What a step takes beyond one forward and one backward pass.
        tested: What its tests hold it to, in a phrase.

    Raises:
        InputError: the name is taken, or is not a lower-case identifier.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"a method's name is a lower-case identifier, got {name!r}")
    if name in _METHODS and _entry(name)[0] != method:
        raise InputError(f"there is another method called {name!r}; choose another name")
    _METHODS[name] = (method, family, paper, passes, tested)


def methods() -> list[Method]:
    """Return what is known of every registered method, sorted by name."""
    listed = []
    for name in names():
        place, family, paper, passes, tested = _entry(name)
        where = place if isinstance(place, str) else f"{place.__module__}:{place.__qualname__}"
        listed.append(Method(name, family, paper, passes, where, tested))
    return listed


def names() -> list[str]:
    """Return the name of every registered method, sorted."""
    return sorted(_METHODS)


def parse(method: str) -> tuple[str, dict[str, Any]]:
    """Split ``"name"`` or ``"name(option=value, ...)"``, values as in YAML, into a name and its options.

    ``"name(option: value)"`` is the same; papermill knows no parameter whose line in a notebook has two equals signs.

    Raises:
        InputError: the text has another form.
    """
    name, options = _parsed(str(method))  # a parameter file may hold anything
    return name, copy.deepcopy(options)


@cache
def _parsed(method: str) -> tuple[str, dict[str, Any]]:
    match = re.fullmatch(r"\s*(\w+)\s*(?:\((.*)\))?\s*", method)
    inside = (match[2] or "") if match else ""
    flow, n_options = re.subn(r"(^|,)\s*([^\W\d]\w*)\s*(?:=|:(?=\s))", r'\1 "\2": ', inside)
    try:
        options: dict[str, Any] | None = yaml12.load(f"{{{flow}}}")
    except yaml.YAMLError:
        options = None
    if not match or options is None or len(options) != n_options:
        raise InputError(
            f"{method!r} is not a method; write name or name(option=value, ...), as in adaptive(detach=false)"
        )
    return match[1], options


def label(name: str, options: dict[str, Any]) -> str:
    """Write a method the one way it is written in records: the inverse of :func:`parse`, options sorted."""
    # A flow sequence of one, without its brackets: on one line, and quoted where a comma would end the value.
    values = {option: yaml12.in_a_line([value])[1:-1] for option, value in sorted(options.items())}
    inside = ", ".join(f"{option}={value}" for option, value in values.items())
    return f"{name}({inside})" if inside else name


def create(method: str, n_tasks: int, **options: Any) -> Balancer:
    """Create a balancer.

    Args:
        method: A registered name, with options in brackets if any: ``"dwa"``, ``"dwa(temperature=1.0)"``.
        n_tasks: Number of tasks T.
        options: Further options of the method.

    Raises:
        InputError: an unknown method, an option that it does not take or accept, or a package that it needs is missing.
    """
    name, written = parse(method)
    if name not in _METHODS:
        raise InputError(f"unknown balancing method {name!r}; there are: {', '.join(names())}")
    place, *_ = _entry(name)
    known = pkgutil.resolve_name(place) if isinstance(place, str) else place
    try:
        options_of.check(known, written | options)
        return known(n_tasks, **written, **options)
    # RuntimeError: PyTorch refuses a size. ImportError: TorchJD lacks a solver's package, which the message names.
    except (TypeError, ValueError, RuntimeError, ImportError) as error:
        raise InputError(f"{method}: {error}") from error


def _entry(name: str) -> Entry:
    entry = _METHODS[name]
    return entry if isinstance(entry, tuple) else (entry, "", "", "", "")


# What other installed packages have: names and places, which are imported no sooner than ours.
for _point in entry_points(group="mtlutils.balancing"):
    register(_point.name, _point.value)
