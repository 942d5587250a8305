"""TorchJD's scalarisers as balancers."""

from typing import Any

from torch import Tensor, nn
from torchjd.scalarization import Scalarizer

from mtlutils.balancing.balancer import Balancer


class Scalarized(Balancer):
    """Minimises what a TorchJD scalariser makes of the losses.

    Args:
        n_tasks: Number of tasks T.
        scalarizer: Maps losses (T,) to a scalar.
    """

    def __init__(self, n_tasks: int, scalarizer: Scalarizer) -> None:
        super().__init__(n_tasks)
        self.scalarizer = scalarizer

    def combine(self, losses: Tensor) -> Tensor:
        """Return the scalariser's value."""
        return self.scalarizer(losses)

    def end_epoch(self) -> None:
        """Roll the scalariser's history forward where it keeps one by the epoch."""
        if callable(roll := getattr(self.scalarizer, "step", None)):
            roll()

    # A scalariser keeps its history in plain attributes, which `state_dict` would leave out.
    def get_extra_state(self) -> dict[str, Any]:
        """Return the scalariser's plain attributes."""
        module = vars(nn.Module())
        return {name: value for name, value in vars(self.scalarizer).items() if name not in module}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Give the scalariser its plain attributes back."""
        vars(self.scalarizer).update(state)
