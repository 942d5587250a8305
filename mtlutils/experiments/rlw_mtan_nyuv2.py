"""Liu 2022 on NYUv2: Table 1 and Figure 5."""

from mtlutils.experiments import dense
from mtlutils.experiments.experiment import Experiment

experiment = Experiment(
    "rlw_mtan_nyuv2",
    dense.ResNetSettings,
    dense.measure,
    studies=("sweep", "shared", "distributions", "photographs"),
    work=dense.work,
)
