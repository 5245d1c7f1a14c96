"""The notebooks in order, in batch through papermill, then the report: what `make run` does."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_root
from blipvqa.runs.files import replacing

NOTEBOOKS = ("01_explore_data", "02_finetune", "03_evaluate", "04_inspect_predictions")


def run_notebooks(
    config: Config, config_path: str | None, name: str | None, overrides: dict, notebooks: tuple[str, ...] = NOTEBOOKS
) -> list[Path]:
    """Execute `notebooks` with these parameters; the executed ones lie in `outputs/<name>/notebooks/`.

    A notebook with a failing cell is kept there too, and its error (papermill's) goes on to the caller.
    """
    import papermill

    executed = []
    with tempfile.TemporaryDirectory() as temporary:  # notebook 02 may move the run folder aside
        for stem in notebooks:
            began = time.monotonic()
            print(f"{config.name}: {stem} …", flush=True)
            made = Path(temporary) / f"{stem}.ipynb"
            try:
                papermill.execute_notebook(
                    project_root() / "notebooks" / f"{stem}.ipynb",
                    made,
                    kernel_name="python3",
                    progress_bar=False,
                    cwd=str(project_root()),
                    parameters={"config_path": config_path and str(config_path), "name": name, "overrides": overrides},
                    extra_arguments=["--IPKernelApp.log_level=40"],  # its warning of TCP: kernels listen on loopback
                )
            finally:
                if made.exists():
                    executed.append(config.folder / "notebooks" / made.name)
                    with replacing(executed[-1]) as beside:
                        shutil.copyfile(made, beside)
            print(f"{config.name}: {stem} took {time.monotonic() - began:.0f} s", flush=True)
    return executed
