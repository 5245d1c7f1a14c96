"""An int8 export beside the model that it was made of: answers, size on disk, time of one question.

.venv/bin/python benchmarks/int8.py --name demo
"""

from __future__ import annotations

import argparse
import time

from blipvqa import Run, load_model, load_splits
from blipvqa.models.folders import INT8
from blipvqa.runs.run import run_config
from blipvqa.sharing import export_int8
from blipvqa.vqa.predictions import predict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--name", default="demo")
    parser.add_argument("--times", type=int, default=3)
    options = parser.parse_args()
    config = run_config(options.name)
    run = Run(config.folder)
    folder = export_int8(run)
    data = load_splits(config)[run.evaluated_split]
    models = {"fp32": load_model(str(run.model_folder), config), "int8": load_model(str(folder), config)}
    answers, seconds = {}, {form: [] for form in models}
    for _ in range(options.times):  # in turns
        for form, (model, processor) in models.items():
            began = time.process_time()
            answers[form] = [row["prediction"] for row in predict(model, processor, data, config, progress=False)]
            seconds[form].append(time.process_time() - began)
    same = sum(a == b for a, b in zip(answers["fp32"], answers["int8"], strict=True))
    print(f"same answers: {same:,} of {len(data):,} ({same / len(data):.2%})")
    for form, file in (("fp32", run.model_folder / "model.safetensors"), ("int8", folder / INT8)):
        middle = sorted(seconds[form])[len(seconds[form]) // 2]
        print(
            f"{form}: {file.stat().st_size / 1e6:.2f} MB, {middle:.2f} s of processor time for {len(data):,} questions"
        )


if __name__ == "__main__":
    main()
