"""Experiments: one file a notebook."""

from mtlutils.experiments.experiment import Experiment, Run, Settings, load, names, plan

__all__ = ["Experiment", "Run", "Settings", "load", "names", "plan"]
