"""Solvers that come with packages of their own."""

from mtlutils.errors import InputError


def require(solver: str, package: str, method: str) -> None:
    """Raise InputError unless cvxpy has a solver; some callers would go on without it, with the weights they had."""
    import cvxpy

    if solver not in cvxpy.installed_solvers():
        raise InputError(f"{method} needs the solver {solver} of the package {package}; run pip install {package}")
