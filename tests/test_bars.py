"""Bars in notebooks: what executes one without a browser keeps every look of a bar as a line."""

import io
import itertools

import nbformat
import pytest
from conftest import TINY

from blipvqa import load_config
from blipvqa.bars import NotebookBar
from blipvqa.workflow import run_notebooks


@pytest.mark.parametrize(("seconds", "most"), [(480, 25), (8 * 3600, 510)])
def test_a_bar_in_a_notebook_is_seen_ever_more_rarely_and_ends_whole(monkeypatch, seconds, most):
    clock, written = [0.0], io.StringIO()
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    looks, bar = [], NotebookBar(total=seconds, file=written, desc="steps")
    for _ in range(seconds):
        clock[0] += 1
        before = len(written.getvalue())
        bar.update()
        looks += [clock[0]] if len(written.getvalue()) > before else []
    bar.close()
    assert 10 < len(looks) <= most
    assert max(later - earlier for earlier, later in itertools.pairwise(looks)) <= 61
    last = written.getvalue().split("\r")[-1]
    assert last.startswith("steps: 100%") and last.endswith("\n")


def test_a_saved_notebook_holds_one_line_of_each_bar(root, capfd):
    (root / "notebooks").mkdir()
    cell = (
        "import time\nfrom blipvqa import bars\nbars.SECONDS = 0.0, 0.0\n"
        "for name in ('first', 'second'):\n    for _ in bars.progress_bar(range(6), desc=name):\n        time.sleep(0.1)\n"
        "print('done')"
    )
    parameters = nbformat.v4.new_code_cell("config_path = name = overrides = None", metadata={"tags": ["parameters"]})
    notebook = nbformat.v4.new_notebook(cells=[parameters, nbformat.v4.new_code_cell(cell)])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, root / "notebooks" / "bars.ipynb")
    (made,) = run_notebooks(load_config(None, TINY, "bars"), None, "bars", {}, ("bars",))
    outputs = nbformat.read(made, 4).cells[-1].outputs
    text = "".join(output.text for output in outputs)
    assert [line.partition(":")[0] for line in text.replace("\r", "\n").split("\n") if line] == [
        "first",
        "second",
        "done",
    ]
    assert text.count("100%") == 2
