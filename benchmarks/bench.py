"""`make bench`: how fast, beside how it is usually done; medians over rounds in which the contenders take turns.

    train    the report's loop, transformers.Trainer, ours: questions a second, peak memory, share of the matmul rate
    predict  one question at a time, batched plain generate, ours; ours must answer as one at a time does
    captions a training step and beam search, beside plain transformers: captions a second (caption_contenders.py)
    retrieval a training step, and one of pre-training, beside the authors' over transformers' modules: pairs a second (retrieval_contenders.py)
    data     pictures a second: decoded each time, first epoch, later epochs
    growth   seconds and memory from 1,000 to 100,000 questions: loading, sampling, scoring

Written to `outputs/bench/results.json` and `speed.png`. `--quick` checks shapes and equality on small sizes, not times.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from blipvqa import load_config, load_splits, score
from blipvqa.config.paths import project_path
from blipvqa.data.batches import epoch_order, epoch_plan
from blipvqa.data.images import ImageStore, open_picture, resize_image
from blipvqa.models.devices import describe_device, pick_device
from blipvqa.runs.files import write_json

HERE = Path(__file__).parent
PATHVQA_QUESTIONS = 19_654  # of its train split
TRAIN = {"report": "the report's loop", "trainer": "transformers.Trainer", "ours": "ours"}
CAPTION_TRAIN = {"notebook": "the captioning notebook", "report": "padded to 32", "ours": "ours"}
CAPTION_WRITE = {"single": "one picture at a time", "batched": "batched plain generate", "ours": "ours"}
CAPTIONS = {"train-1": CAPTION_TRAIN, "train-5": CAPTION_TRAIN, "write-20": CAPTION_WRITE, "write-60": CAPTION_WRITE}
RETRIEVAL = {"called": "the models, called for each loss", "plain": "the authors' step, plainly", "ours": "ours"}
RETRIEVALS = {"train-1": RETRIEVAL, "train-5": RETRIEVAL, "pretrain-1": RETRIEVAL}
PREDICT = {"single": "one question at a time", "batched": "batched plain generate", "ours": "ours"}


def contend(
    what: str, names: dict[str, str], rounds: int, quick: bool, script: str = "contenders.py", unit: str = "questions"
) -> dict:
    """Every contender in turn, each in a process of its own, `rounds` times."""
    found: dict[str, list[dict]] = {who: [] for who in names}
    for number in range(rounds):
        for who in names:
            command = [sys.executable, str(HERE / script), what, who, *["--quick"][:quick]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{what} {who} failed:\n{done.stderr[-2000:]}")
            found[who].append(json.loads(done.stdout.splitlines()[-1]))
            print(
                f"{what}, round {number + 1}, {names[who]}: {rate(found[who][-1], unit):.3f} {unit} a second",
                flush=True,
            )
    results = {who: summary(runs, unit) for who, runs in found.items()}
    if what.startswith("write"):
        plain, ours = (found[who][0]["written"] for who in ("single", "ours"))
        results["ours"]["captions_equal"] = sum(a == b for a, b in zip(plain, ours, strict=True)) / len(plain)
    if quick and "losses" in found["ours"][0]:  # one batch for both: two independent ways to the same numbers
        plain, ours = (np.array([found[who][0]["losses"] for who in group]) for group in (list(names)[:-1], ["ours"]))
        results["ours"]["losses_apart"] = float(np.abs(plain - ours).max())
    if what == "predict":
        pairs = [
            pair
            for a, b in zip(found["ours"], found["single"], strict=True)
            for pair in zip(a["answers"], b["answers"], strict=True)
        ]
        results["ours"]["answers_equal"] = sum(a == b for a, b in pairs) / len(pairs)
        if results["ours"]["answers_equal"] < 1 and found["ours"][0]["precision"] == "fp32":
            raise RuntimeError("ours does not answer as one question at a time does")
    return results


def each(measurements: dict[str, dict[str, str]], rounds: int, quick: bool, script: str, unit: str) -> dict:
    """What `contend` gives of each measurement."""
    return {what: contend(what, names, rounds, quick, script, unit) for what, names in measurements.items()}


def rate(run: dict, unit: str = "questions") -> float:
    return run[unit] / run["seconds"]


def summary(runs: list[dict], unit: str) -> dict:
    rates = [rate(run, unit) for run in runs]
    found = {
        f"{unit}_per_second": statistics.median(rates),
        "lowest": min(rates),
        "highest": max(rates),
        "rounds": len(runs),
        "peak_memory_gib": max(run["peak_memory_gib"] for run in runs),
    }
    for key in ("shares", "rates"):
        if key in runs[0]:
            found[key] = {by: statistics.median(run[key][by] for run in runs) for by in runs[0][key]}
    return found


def data_speed(rounds: int, quick: bool) -> dict:
    """Pictures of 640 x 480 as JPEG, eight questions each, at 384 pixels."""
    size, count = (32, 4) if quick else (384, 64)
    draw, files = np.random.default_rng(0), []
    for _ in range(count):
        coarse = Image.fromarray(draw.integers(0, 256, (48, 64, 3), dtype=np.uint8)).resize(
            (640, 480), Image.Resampling.BICUBIC
        )
        buffer = io.BytesIO()
        coarse.save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    seconds: dict[str, list[float]] = {"decoded each time": [], "first epoch": [], "later epochs": []}
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            store = ImageStore(folder, size)
            ways = {
                "decoded each time": lambda i: resize_image(open_picture(files[i], ""), size),
                "first epoch": lambda i: store.get(f"{i:016x}", lambda: files[i], ""),
                "later epochs": lambda i: store.get(f"{i:016x}", lambda: files[i], ""),
            }
            for name, get in ways.items():
                repeats = 5 if name == "later epochs" else 1
                begun = time.perf_counter()
                for _ in range(repeats):
                    for i in range(count):
                        get(i)
                seconds[name].append((time.perf_counter() - begun) / count / repeats)
    return {
        name: {"images_per_second": 1 / statistics.median(s), "lowest": 1 / max(s), "highest": 1 / min(s)}
        for name, s in seconds.items()
    }


def growth(sizes: list[int]) -> list[dict]:
    """Loading from jsonl (a warm cache), sampling an epoch, scoring with 1,000 resamples."""
    rows = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_questions(Path(folder), count)
            config = load_config(
                None, {"data.source": folder, "data.cache_dir": f"{folder}/cache", "model.image_size": 32}
            )
            load_splits(config)
            splits, loading, memory = measured(lambda config=config: load_splits(config))
        data = splits["train"].rows
        ids = [row["image_id"] for row in data]
        _, sampling, _ = measured(lambda ids=ids: epoch_plan(epoch_order(ids, 16, 0, 0), 64))
        predictions = [{**row, "prediction": row["answer"] if i % 3 else "no"} for i, row in enumerate(data)]
        _, scoring, scoring_memory = measured(lambda predictions=predictions: score(predictions))
        rows.append(
            {
                "questions": count,
                "loading": loading,
                "loading_mib": memory,
                "sampling": sampling,
                "scoring": scoring,
                "scoring_mib": scoring_memory,
            }
        )
        print(
            f"growth: {count:,} questions: loading {loading:.2f} s, sampling {sampling:.2f} s, scoring {scoring:.2f} s",
            flush=True,
        )
    return rows


def write_questions(folder: Path, count: int) -> None:
    draw = random.Random(0)
    images = min(count // 8 + 1, 2000)  # beyond, pictures repeat: files are not what grows here
    for i in range(images):
        colour = (i % 256, i // 256 * 20, 90)
        Image.new("RGB", (16, 16), colour).save(folder / f"{i}.png")
    words = ["necrosis", "gland", "vessel", "fat", "nucleus", "stroma", "liver", "kidney"]
    with open(folder / "train.jsonl", "w", encoding="utf-8") as file:
        for i in range(count):
            open_question = i % 2
            question = f"{'what' if open_question else 'is there'} {draw.choice(words)} number {i}?"
            answer = f"{draw.choice(words)} {draw.choice(words)}" if open_question else draw.choice(["yes", "no"])
            file.write(json.dumps({"image": f"{i // 8 % images}.png", "question": question, "answer": answer}) + "\n")


def measured(function) -> tuple:
    """(result, seconds, peak MiB of Python's own memory); time and memory in calls of their own."""
    begun = time.perf_counter()
    result = function()
    seconds = time.perf_counter() - begun
    tracemalloc.start()
    function()
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return result, seconds, peak


def figures(value: float) -> str:
    """Three significant figures, in full: 0.277, 8.38, 21,800."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def picture(results: dict, path: Path) -> None:
    figure = Figure(figsize=(10, 3), layout="constrained")
    parts = [
        ("train", TRAIN, "questions_per_second", "train step, questions a second"),
        ("predict", PREDICT, "questions_per_second", "predict, questions a second"),
        ("data", {name: name for name in results["data"]}, "images_per_second", "data, images a second"),
    ]
    for axes, (part, names, key, title) in zip(figure.subplots(1, 3), parts, strict=True):
        values = [results[part][who][key] for who in names]
        spread = [
            [v - results[part][who]["lowest"] for v, who in zip(values, names, strict=True)],
            [results[part][who]["highest"] - v for v, who in zip(values, names, strict=True)],
        ]
        bars = axes.barh(list(names.values()), values, xerr=spread, color=["#9aa3ab"] * (len(values) - 1) + ["#2a7f62"])
        axes.bar_label(bars, [f" {figures(value)}" for value in values], padding=6)
        axes.margins(x=0.25)
        axes.invert_yaxis()
        axes.set_title(title, fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def table(results: dict) -> str:
    """What was measured, a line a contender."""
    lines = [f"{'':44}{'a second':>10}{'spread':>18}{'times':>8}{'GiB':>7}{'of matmul':>11}{'of oneDNN':>11}"]
    contenders = {"train": TRAIN, "predict": PREDICT, "data": {name: name for name in results.get("data", {})}}
    parts = [
        (part, names, results[part], "images" if part == "data" else "questions")
        for part, names in contenders.items()
        if part in results
    ]
    for kind, of_kind, unit in (("captions", CAPTIONS, "captions"), ("retrieval", RETRIEVALS, "pairs")):
        parts += [(f"{kind} {what}", of_kind[what], found, unit) for what, found in results.get(kind, {}).items()]
    for part, names, measured_part, unit in parts:
        key = f"{unit}_per_second"
        first = measured_part[next(iter(names))][key]
        for who, name in names.items():
            found = measured_part[who]
            shares = "".join(f"{share:11.0%}" for share in found.get("shares", {}).values())
            memory = f"{found['peak_memory_gib']:.1f}" if "peak_memory_gib" in found else ""
            spread = f"{figures(found['lowest'])} to {figures(found['highest'])}"
            lines.append(
                f"{part + ': ' + name:44}{figures(found[key]):>10}{spread:>18}{found[key] / first:8.1f}{memory:>7}{shares}"
            )
    if "train" in results:
        hours = {
            name: PATHVQA_QUESTIONS / results["train"][who]["questions_per_second"] / 3600
            for who, name in TRAIN.items()
        }
        lines.append("an epoch of PathVQA's size: " + ", ".join(f"{name} {figures(h)} h" for name, h in hours.items()))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument(
        "--only",
        choices=["train", "predict", "captions", "retrieval", "data", "growth"],
        help="measure this alone, and keep the rest as it was",
    )
    given = parser.parse_args()
    rounds = 1 if given.quick else given.rounds
    os.environ.setdefault("PYTHONPATH", str(HERE))
    parts = {
        "train": lambda: contend("train", TRAIN, rounds, given.quick),
        "predict": lambda: contend("predict", PREDICT, rounds, given.quick),
        "captions": lambda: each(CAPTIONS, rounds, given.quick, "caption_contenders.py", "captions"),
        "retrieval": lambda: each(RETRIEVALS, rounds, given.quick, "retrieval_contenders.py", "pairs"),
        "data": lambda: data_speed(max(3, rounds), given.quick),
        "growth": lambda: growth([100, 1000] if given.quick else [1000, 10_000, 100_000]),
    }
    folder = project_path("outputs/bench")
    file = folder / ("quick.json" if given.quick else "results.json")
    results = json.loads(file.read_text()) if given.only and file.exists() else {}
    results |= {"device": describe_device(pick_device()), "quick": given.quick}
    for part, measure in parts.items():
        if given.only in (None, part):
            results[part] = measure()
            write_json(file, results)
    if parts.keys() <= results.keys():
        picture(results, folder / ("quick.png" if given.quick else "speed.png"))
    print(table(results))


if __name__ == "__main__":
    main()
