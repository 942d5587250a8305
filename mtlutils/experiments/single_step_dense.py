"""Lee & Son 2020 on CityScapes and NYUv2: Tables 2 and 3, and Figure 4."""

from mtlutils.experiments import dense
from mtlutils.experiments.experiment import Experiment

experiment = Experiment(
    "single_step_dense",
    dense.SegNetSettings,
    dense.measure,
    studies=("sweep", "mtan", "alphas", "photographs"),
    work=dense.work,
)
