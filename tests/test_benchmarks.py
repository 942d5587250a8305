"""The benchmarks run, and print a ratio for everything that they promise; no ratio is expected to have any size."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def printed(script, options, cwd):
    """Run a benchmark as a script, from another folder; return the lines that it prints."""
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *options.split()],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


def assert_quartiles(times):
    low, median, high = map(float, times)
    assert 0 < low <= median <= high < math.inf


def test_cifar100_prints_every_ratio(tmp_path):
    tiny = "--batch-size 32 --images 64 --rounds 2 --steps 1 --workers 0 1 --device cpu"
    first, header, *lines, reference = printed("cifar100.py", tiny, tmp_path)
    assert first.startswith("cpu (")
    assert first.endswith("WRN-10-1, batches of 32")
    assert header.split()[0] == "part"
    assert "'step: equal'" in reference

    methods = ["uncertainty", "revised_uncertainty", "dwa"]
    methods += ["adaptive", "adaptive(detach=false)", "adaptive(every=epoch)"]
    step, batch = "step: equal", "batch: ImageSplit"
    steps = [*(f"step: {method}" for method in methods), "step: equal, again", "step: equal, bf16"]
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
        assert_quartiles(times)
        assert memory == "-" if part == with_worker else 0 < float(memory) < math.inf


def test_dense_prints_every_ratio(tmp_path):
    tiny = "--batch-size 2 --size 32 32 --width 2 --rounds 2 --device cpu"
    first, header, *lines, reference, rendered = printed("dense.py", tiny, tmp_path)
    assert first.startswith("cpu (")
    assert first.endswith("networks of width 2, batches of 2 images of 32x32")
    assert header.split()[0] == "part"
    assert "'step: segnet, equal'" in reference
    assert all(int(n) > 0 for n in re.findall(r"\d+", rendered))
    methods = ["uncertainty", "dwa", "rlw", "gradnorm", "split_only", "single_step(alpha=0.0001)"]
    alone = [f"{task} alone" for task in ("segmentation", "depth", "normal")]
    steps = [f"step: segnet, {each}" for each in ["equal, again", *methods, *alone]]
    steps += [f"step: {network}, equal" for network in ("segnet_mtan", "dilated_resnet", "dilated_resnet_mtan")]
    steps += [f"step: {network}, equal, bf16" for network in ("segnet", "dilated_resnet_mtan")]
    rows = [line.rsplit(maxsplit=4) for line in lines]
    others = ["rendering: room", "rendering: street", "reading", "reading, augmented"]
    assert [row[0].strip() for row in rows] == steps + others
    for _, *times, memory in rows:
        assert_quartiles(times)
        assert float(memory) > -math.inf


def test_single_step_prints_every_ratio_beside_its_least_count_of_passes(tmp_path):
    tiny = "--tasks 2 4 --batch-size 32 --rounds 2 --steps 1 --device cpu"
    first, header, *lines, reference, other_reference, passes = printed("single_step.py", tiny, tmp_path)
    assert first.startswith("cpu (")
    assert first.endswith("LeNet, batches of 32")
    assert header.split()[:2] == ["T", "method"]
    assert "'equal', T=2" in reference
    assert "'equal', T=4" in other_reference
    shares = dict(share.split() for share in passes.split(": ")[1].split(", "))
    assert list(shares) == ["F", "N", "B", "L", "C", "D", "U", "h", "r", "p", "rp", "u"]
    assert all(float(share) > 0 for share in shares.values())

    methods = ["equal, again", "uncertainty", "split_only", "gradnorm", "pareto_mtl"]
    methods += ["single_step", "single_step(second_order=true)"]
    rows = [line.rsplit(maxsplit=9) for line in lines]
    assert [row[0].split(maxsplit=1) for row in rows] == [[n, method] for n in "24" for method in methods]
    for label, *times, predicted, over, aim, met, memory, least in rows:
        assert_quartiles(times)
        n_tasks, method = label.split(maxsplit=1)
        if (n_tasks, method) == ("2", "single_step"):
            assert (aim, met) == ("measured/predicted<=1.1", "yes" if float(over) <= 1.1 else "no")
        elif (n_tasks, method) == ("2", "gradnorm"):
            assert (aim, met) == ("median<=1.3", "yes" if float(times[1]) <= 1.3 else "no")
        else:
            assert (aim, met) == ("-", "-")
        assert all(0 < float(number) < math.inf for number in (predicted, over, memory))
        assert set(re.findall("[a-zA-Z]+", least)) <= {"T", *shares}


def test_balancing_prints_every_ratio_beside_torchjd_and_what_is_aimed_at(tmp_path):
    methods = ["equal", "gradnorm", "pcgrad", "orthogonal"]
    tiny = f"--methods {' '.join(methods)} --tasks 3 --batch-size 2 --rounds 2 --device cpu"
    first, header, *lines, reference = printed("balancing.py", tiny, tmp_path)
    assert first.startswith("cpu (")
    assert first.endswith("617,792 shared parameters, batches of 2")
    assert header.split()[:2] == ["T", "method"]
    assert "'plain', T=3" in reference

    rows = [line.rsplit(maxsplit=12) for line in lines]
    names = ["plain, again", *methods]
    names.insert(names.index("pcgrad") + 1, "pcgrad(gradients=representation)")
    assert [row[0].split(maxsplit=1) for row in rows] == [["3", name] for name in names]
    for label, *times, time_aim, memory, memory_aim, met, predicted, over, torchjd, torchjd_memory, least in rows:
        name = label.split(maxsplit=1)[1]
        assert_quartiles(times)
        assert all(float(number) > -math.inf for number in (memory, predicted, over))
        assert set(re.findall("[a-zA-Z]", least)) <= {"T", *"FNBLCDhbU"}
        time_aims = {"equal": "1.10", "gradnorm": "1.10", "pcgrad": "2.00", "pcgrad(gradients=representation)": "1.30"}
        assert time_aim == time_aims.get(name, "-")
        assert memory_aim == ("-" if name == "plain, again" else "1.50")
        aims = [(times[1], time_aim), (memory, memory_aim)]
        kept = all(float(ratio) <= float(aim) for ratio, aim in aims if aim != "-")
        # A ratio that is printed as its aim may lie on either side.
        if not any(aim != "-" and float(ratio) == float(aim) for ratio, aim in aims):
            assert met == ("-" if name == "plain, again" else "yes" if kept else "no")
        assert (torchjd == "-") == (torchjd_memory == "-") == (name != "pcgrad")
