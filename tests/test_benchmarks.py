"""The quick form of `make bench`: every contender runs, answers agree, and what is counted is what it should be."""

import importlib.util
import json
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def benchmarks(request):
    folder = str(request.config.rootpath / "benchmarks")
    sys.path.insert(0, folder)
    yield request.config.rootpath / "benchmarks"
    sys.path.remove(folder)


@pytest.mark.slow
def test_the_whole_quick_bench_runs_and_answers_agree(benchmarks, root):
    command = [sys.executable, str(benchmarks / "bench.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((root / "outputs" / "bench" / "quick.json").read_text())
    assert set(results["train"]) == {"report", "trainer", "ours"}
    assert all(found["questions_per_second"] > 0 for part in ("train", "predict") for found in results[part].values())
    assert set(results["captions"]) == {"train-1", "train-5", "write-20", "write-60"}
    assert all(entry["captions_per_second"] > 0 for part in results["captions"].values() for entry in part.values())
    assert all(results["captions"][what]["ours"]["captions_equal"] == 1 for what in ("write-20", "write-60"))
    assert all(
        results["retrieval"][what]["ours"]["losses_apart"] < 1e-4 for what in ("train-1", "train-5", "pretrain-1")
    )
    assert [row["questions"] for row in results["growth"]] == [100, 1000]
    assert (root / "outputs" / "bench" / "quick.png").stat().st_size > 10_000


def test_operations_are_counted_as_torch_counts_them(benchmarks):
    """Against torch's own counter, on one picture with questions of one length: no padding to differ in."""
    import torch
    from arithmetic import step_operations
    from contenders import our_batch, published_config
    from torch.utils.flop_counter import FlopCounterMode

    from blipvqa.models.vqa import BlipForVQA

    config = published_config(quick=True)
    model = BlipForVQA(config)
    group = [[9, 4]] * 6
    data = {
        "questions": [[5] * 9] * 6,
        "answers": [[7] * 4] * 6,
        "index": torch.zeros(6, dtype=torch.long),
        "pixels": torch.zeros(1, 3, 64, 64, dtype=torch.uint8),
    }
    onednn = {
        torch.ops.mkldnn._linear_pointwise: lambda a, b, *_, **__: 2 * a[0] * a[1] * b[0]
    }  # torch counts only its own
    with FlopCounterMode(display=False, custom_mapping=onednn) as counter, torch.no_grad():
        model(**our_batch(data, list(range(6))))
    assert step_operations(config, [group]) / 3 == pytest.approx(counter.get_total_flops(), rel=0.05)


@pytest.mark.slow
def test_the_bench_of_frozen_states_runs_and_its_losses_agree(benchmarks, root):
    done = subprocess.run(
        [sys.executable, str(benchmarks / "frozen.py"), "--quick", "--rounds", "1"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    apart = [float(number) for number in re.findall(r"losses (\S+) apart", done.stdout)]
    assert len(apart) == 2 and max(apart) < 1e-5


def test_every_benchmark_finds_what_it_imports(benchmarks):
    """One imported a function that had moved, and nobody had run it since."""
    paths = sorted(benchmarks.glob("*.py"))
    assert len(paths) > 20
    for path in paths:
        spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


def test_the_table_of_what_capfilt_is_for_is_made_by_its_command(benchmarks, root, capsys):
    """Of a tiny model: the script had called what it is made of by arguments that were others since."""
    from capfilt import KEEPS, NONE, main
    from conftest import TINY

    images = {"train": 12, "validation": 6, "test": 6}
    tree = TINY | {
        "task": "pretrain",
        "train.epochs": 1,
        "train.samples": 0,
        "retrieval": {"queue": 64, "rerank": 0},
        "data.synthetic": {"images": images, "size": 48, "caption_noise": 0.4},
        "caption.max_length": 40,
        "bootstrap": {"clean": {"synthetic": {"images": images, "size": 48, "seed": 1}}, "threshold": 0.0},
    }
    (root / "tiny.yaml").write_text("task: pretrain\n")
    settings = [f"{key}={json.dumps(value)}" for key, value in tree.items()]
    main(
        ["--config", "tiny.yaml", "--seeds", "0", "--steps", "2", "--labels", "6", "--epochs", "1", "--set", *settings]
    )
    (table,) = (root / "outputs").glob("*/table.md")
    lines = table.read_text()
    assert lines.strip() in capsys.readouterr().out
    for variant in (*KEEPS, NONE):
        assert f"| {variant} | " in lines
    rows = [line for line in lines.splitlines() if line.startswith("| bootstrapped")]
    assert len(rows) == 2 and all(re.search(r"\[[+-]?\d\.\d+ to [+-]?\d\.\d+\], p \d", row) for row in rows)
