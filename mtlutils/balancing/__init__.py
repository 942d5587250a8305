"""Balancing methods: what decides how T task losses become one update."""

from mtlutils.balancing.registry import Method, create, label, methods, names, parse, register

__all__ = ["Method", "create", "label", "methods", "names", "parse", "register"]
