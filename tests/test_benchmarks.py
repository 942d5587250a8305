"""The benchmarks run, and print a ratio for everything that they promise; no ratio is expected to have any size."""

import math
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
METHODS = ["uncertainty", "revised_uncertainty", "dwa", "adaptive", "adaptive(detach=false)", "adaptive(every=epoch)"]


def test_cifar100_prints_every_ratio(tmp_path):
    tiny = "--batch-size 32 --images 64 --rounds 2 --steps 1 --workers 0 1 --device cpu"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "cifar100.py", *tiny.split()],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    first, header, *lines, reference = done.stdout.splitlines()
    assert first.startswith("cpu (")
    assert first.endswith("WRN-10-1, batches of 32")
    assert header.split()[0] == "part"
    assert "'step: equal'" in reference

    step, batch = "step: equal", "batch: ImageSplit"
    steps = [*(f"step: {method}" for method in METHODS), "step: equal, again", "step: equal, bf16"]
    without, with_worker = (f"batch: torchvision, workers: {n}" for n in (0, 1))
    expected = {(part, step) for part in [*steps, batch, without, with_worker]}
    expected |= {(without, batch), (with_worker, batch)}
    ratios = {}
    for line in lines:
        names, *numbers = line.rsplit(maxsplit=4)
        for part, baseline in expected:
            if names.split() == [*part.split(), *baseline.split()]:
                ratios[part, baseline] = numbers
    assert set(ratios) == expected
    assert len(lines) == len(expected)
    for (part, _), (*times, memory) in ratios.items():
        low, median, high = map(float, times)
        assert 0 < low <= median <= high < math.inf
        assert memory == "-" if part == with_worker else 0 < float(memory) < math.inf
