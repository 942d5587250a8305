"""What tests of several files build: small networks with known losses, and sets of files."""

import numpy as np
import torch
from bs4 import BeautifulSoup
from torch import nn

from mtlutils import balancing, losses, metrics, training
from mtlutils.models import MultiTaskModel


class SquaredErrors(MultiTaskModel):
    """An encoder from 4 inputs to 3, linear heads with 2 outputs, and the squared errors of T tasks as its losses."""

    def __init__(self, encoder, n_tasks, seed):
        super().__init__(encoder, {str(task): nn.Linear(3, 2) for task in range(n_tasks)})
        random = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=random)
        self.inputs = torch.randn(6, 4, generator=random)
        self.targets = torch.randn(n_tasks, 6, 2, generator=random) * torch.arange(1, n_tasks + 1)[:, None, None]

    def losses(self):
        outputs = self(self.inputs)
        return torch.stack([(outputs[task] - self.targets[int(task)]).square().mean() for task in self.heads])


def without_details(table):
    """A shown table, or its HTML, as it looks before any of its cells is opened."""
    page = BeautifulSoup(getattr(table, "data", table), "html.parser")
    for details in page.select(".cell-details"):
        details.extract()
    return page


# Of a page in a browser: MathJax names itself here once its script has run, and settles the promise once it has set the
# page, which moves what stands below a formula.
MATHS_IS_SET = "() => window.MathJax?.startup?.promise?.then(() => true)"


def assert_state_goes_round(one, other, inputs, tmp_path):
    """The state of one model, saved and loaded, gives another one its outputs, which were different before."""
    one(inputs)  # which moves the running statistics
    torch.save(one.state_dict(), tmp_path / "state.pt")
    expected, before = one.eval()(inputs), other.eval()(inputs)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for task, output in other(inputs).items():
        assert not torch.allclose(before[task], expected[task])
        assert torch.equal(output, expected[task])


def write_set(place, sizes, made_up):
    """Write a set in the layout of MTAN's files, ``SPLIT/PART/N.npy``; ``made_up(seed)`` gives part -> array.

    Returns the seed of each image, by split and number.
    """
    seeds = {(split, i): 10 * (split == "val") + i for split, n in sizes.items() for i in range(n)}
    for (split, i), seed in seeds.items():
        for part, array in made_up(seed).items():
            path = place / split / part / f"{i}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    return seeds


def trained_on(data, splits, epochs, batch_size):
    """Train two convolutions on a dense data set with the papers' losses and metrics; every metric must be finite."""
    torch.manual_seed(0)
    heads = {task: nn.Conv2d(8, n, 1) for task, n in data.n_outputs.items()}
    model = MultiTaskModel(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()), heads)
    of_task = {
        "segmentation": (losses.segmentation, metrics.segmentation(data.n_outputs["segmentation"])),
        "depth": (losses.depth, metrics.depth()),
        "normal": (losses.normals, metrics.normals()),
    }
    result = training.train(
        model=model,
        balancer=balancing.create("equal", n_tasks=len(heads)),
        optimizer=torch.optim.Adam(model.parameters(), lr=0.01),
        losses={task: of_task[task][0] for task in heads},
        metrics={task: of_task[task][1] for task in heads},
        splits=splits,
        epochs=epochs,
        batch_size=batch_size,
        seed=0,
    )
    assert result.status == "completed"
    assert all(np.isfinite(value) for value in result.metrics.values())
    return result
