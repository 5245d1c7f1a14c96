"""Data beyond memory: what the loader costs at 10,000 rows and at a million, each row with a small picture of its own.

For each number of rows a source of parquet files is drawn and read once, which decodes every picture into the store.
Then a new process reads it again, as every later run does, and is measured:

- start-up: processor and wall time of `load_splits` and of the digest of every row (imports are left out);
- order: the time of one epoch's order;
- delivery: rows a second of batches in random order, pixels and texts, without tokenizer and model;
- memory: the most that the process held, without and with the pages of files that it read.

    OMP_NUM_THREADS=1 python benchmarks/million_rows.py [--rows 10000 1000000] [--folder FOLDER]

`--folder` keeps the source and the store for a next time; they take 5 GB at a million rows.
"""

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

SIDE = 32  # of the stored pixels
IN_A_FILE = 10_000  # rows
BATCHES, BATCH = 400, 64
ORGANS = ("lung", "liver", "kidney", "colon", "skin", "bone")


def draw(folder: Path, rows: int) -> None:
    """`train-*.parquet` of so many rows, and a small `validation-00000-of-00001.parquet`."""
    folder.mkdir(parents=True)
    files = -(-rows // IN_A_FILE)
    for k in range(files):
        _file(folder / f"train-{k:05d}-of-{files:05d}.parquet", k * IN_A_FILE, min(IN_A_FILE, rows - k * IN_A_FILE))
    _file(folder / "validation-00000-of-00001.parquet", 10_000_000, 1000)


def _file(path: Path, first: int, rows: int) -> None:
    noise = np.random.default_rng(first).integers(0, 255, (rows, 16, 16), dtype=np.uint8)
    organs = [ORGANS[i % len(ORGANS)] for i in range(rows)]
    columns = {
        "image": pa.array([{"bytes": _png(one), "path": None} for one in noise]),
        "caption": pa.array([f"a picture of {organ}, number {first + i}" for i, organ in enumerate(organs)]),
        "organ": pa.array(organs),
        "number": pa.array(range(first, first + rows)),
    }
    pq.write_table(pa.table(columns), path, row_group_size=1000)


def _png(grey: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=1)
    return file.getvalue()


def measured(source: str) -> dict:
    """One process's start-up, order and delivery, as the first or a later one."""
    from blipvqa import load_config, load_splits
    from blipvqa.data.batches import batch_loader, distinct_images, epoch_order
    from blipvqa.data.fingerprint import fingerprint
    from blipvqa.data.row_table import column_of

    config = load_config(
        None,
        {
            "task": "caption",
            "data.source": source,
            "model.image_size": SIDE,
            "model.name": "scratch",
            "data.cache_dir": f"{source}-cache",
        },
    )
    before = _memory()
    wall, cpu = time.monotonic(), time.process_time()
    splits = load_splits(config)
    loaded = time.process_time() - cpu
    rows = fingerprint(splits)
    result = {"start_cpu": time.process_time() - cpu, "load_cpu": loaded, "start_wall": time.monotonic() - wall}
    assert len(rows["train"]) == len(splits["train"])
    del rows
    cpu = time.process_time()
    order = epoch_order(column_of(splits["train"].rows, "image_id"), 4, config.seed, 0)
    result["order_cpu"] = time.process_time() - cpu
    batches = [order[k * BATCH : (k + 1) * BATCH] for k in range(min(BATCHES, len(order) // BATCH))]
    loader = batch_loader(
        splits["train"], lambda items: (distinct_images(items), [i["caption"] for i in items]), batches
    )
    for _ in range(2):  # the second time, pages are at hand as they are in a long run
        cpu, wall = time.process_time(), time.monotonic()
        count = sum(len(captions) for _, captions in loader)
        result |= {
            "rows_a_cpu_second": count / (time.process_time() - cpu),
            "rows_a_second": count / (time.monotonic() - wall),
        }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return result | {"imports_gib": before, "gib": _memory(), "peak_gib": peak}


def _memory() -> float:
    """GiB that are this process's own: without pages of files."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["RssAnon"].split()[0]) / 2**20


def in_a_new_process(folder: Path, source: str) -> dict:
    """`measured`, by a process of its own."""
    environment = os.environ | {"BLIPVQA_ROOT": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--measure", source]
    return json.loads(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout)


def main() -> None:
    """Draw what is not there, read it twice, and print the second time as a table."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--rows", nargs="*", type=int, default=[10_000, 1_000_000])
    arguments.add_argument("--folder", type=Path)
    arguments.add_argument("--measure")
    options = arguments.parse_args()
    if options.measure:
        print(json.dumps(measured(options.measure)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        results = {}
        for rows in options.rows:
            source = f"rows-{rows}"
            if not (folder / source).exists():
                draw(folder / source, rows)
            print(f"{rows:,} rows, first: {in_a_new_process(folder, source)}", flush=True)
            results[rows] = in_a_new_process(folder, source)
            print(f"{rows:,} rows, again: {results[rows]}", flush=True)
    print("| rows | start-up (CPU) | order | delivery | memory | at most |\n| --- | --- | --- | --- | --- | --- |")
    fastest = results[min(results)]["rows_a_cpu_second"]
    for rows, one in results.items():
        share = f"{one['rows_a_cpu_second']:,.0f} rows/s ({one['rows_a_cpu_second'] / fastest:.0%})"
        print(
            f"| {rows:,} | {one['start_cpu']:.1f} s | {one['order_cpu']:.2f} s | {share} | {one['gib']:.2f} GiB | "
            f"{one['peak_gib']:.2f} GiB |"
        )


if __name__ == "__main__":
    main()
