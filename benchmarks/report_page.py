"""A report of PathVQA's size: how large it is, and how fast it opens and searches in Chromium.

    .venv/bin/python benchmarks/report_page.py [--pictures 970] [--axe path/to/axe.min.js]

Drawn pictures of 512 pixels, about seven questions each, answered by a model that was not trained. What a browser
measures needs playwright and a Chromium (`--chromium`); axe-core (npm) finds what keeps people out.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from blipvqa import evaluate, fine_tune, load_config, load_splits
from blipvqa.tasks import write_report

SMALL = {
    "model.name": "scratch",
    "model.image_size": 32,
    "model.scratch": {"hidden_size": 32, "layers": 1, "heads": 2, "patch_size": 8, "vocabulary": 400},
    "train.epochs": 0,
    "generate.max_new_tokens": 4,
}
OPENED = """() => { const [page] = performance.getEntriesByType('navigation');
return {ready: page.domContentLoadedEventEnd, load: page.loadEventEnd}; }"""
SEARCHED = """async place => { const box = document.querySelector(`.tools[data-for=${place}] input`), began = performance.now();
box.value = 'is'; box.dispatchEvent(new Event('input'));
await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
return performance.now() - began; }"""
SERIOUS = """async () => (await axe.run()).violations.map(v => `${v.impact}: ${v.id}, ${v.nodes.length} places`)"""


def write(pictures: int, side: int) -> Path:
    """A run of an untrained model on drawn pictures, and its report."""
    data = {"images": {"train": 40, "validation": 20, "test": pictures}, "size": side}
    config = load_config(None, SMALL | {"data.synthetic": data}, "large")
    run = fine_tune(config)
    evaluate(config, progress=False, resamples=100)
    splits = load_splits(config)
    page = write_report(run, splits)
    print(f"{len(splits['test']):,} questions, {pictures:,} pictures: {page.stat().st_size / 1e6:.1f} MB")
    return page


def measure(page: Path, chromium: str | None, axe: str | None, times: int) -> None:
    """Medians of `times` openings, each in a browser of its own."""
    from playwright.sync_api import sync_playwright

    rows = []
    with sync_playwright() as playwright:
        for _ in range(times):
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page()
            tab.goto(page.as_uri())
            rows.append(
                tab.evaluate(OPENED) | {f"search {p}": tab.evaluate(SEARCHED, p) for p in ("gallery", "listing")}
            )
            browser.close()
        for name in rows[0]:
            print(f"{name}: {sorted(row[name] for row in rows)[times // 2]:.0f} ms")
        if axe:
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_context(bypass_csp=True).new_page()
            tab.goto(page.as_uri())
            tab.evaluate(Path(axe).read_text(encoding="utf-8"))
            print("axe-core:", "; ".join(tab.evaluate(SERIOUS)) or "nothing")
            browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--page", type=Path, help="measure this page, and write none")
    parser.add_argument("--pictures", type=int, default=970)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--chromium", help="an executable; by default playwright's own")
    parser.add_argument("--axe", help="axe.min.js")
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    if options.page:
        measure(options.page.resolve(), options.chromium, options.axe, options.times)
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BLIPVQA_ROOT"] = folder
        measure(write(options.pictures, options.side), options.chromium, options.axe, options.times)


if __name__ == "__main__":
    main()
