"""Experiments: one file a notebook."""

from mtlutils.experiments.experiment import Experiment, Run, Settings
from mtlutils.experiments.registry import load, names, plan

__all__ = ["Experiment", "Run", "Settings", "load", "names", "plan"]
