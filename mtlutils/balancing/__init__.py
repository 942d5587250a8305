"""Balancing methods: what decides how T task losses become one update."""

from mtlutils.balancing.registry import create, label, names, parse, register

__all__ = ["create", "label", "names", "parse", "register"]
