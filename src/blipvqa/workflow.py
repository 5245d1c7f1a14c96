"""A project laid out from the package, and its notebooks in order, in batch through papermill: what `make run` does."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_root
from blipvqa.errors import InputError
from blipvqa.runs.files import replacing

NOTEBOOKS = ("01_explore_data", "02_finetune", "03_evaluate", "04_inspect_predictions")
BOOTSTRAPPING = ("01_explore_data", "08_bootstrap_captions")
CONTINUING = ("09_continue",)


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
                    coalesce_streams=True,  # or a bar's every look is a line of the saved notebook
                )
            finally:
                if made.exists():
                    executed.append(config.folder / "notebooks" / made.name)
                    with replacing(executed[-1]) as beside:
                        shutil.copyfile(made, beside)
            print(f"{config.name}: {stem} took {time.monotonic() - began:.0f} s", flush=True)
    return executed


def lay_out(folder: Path) -> list[Path]:
    """Copy the package's `configs` and `notebooks` into `folder`, and return what was copied.

    Raises InputError when one of the files is there already and says something else: it may be someone's work.
    """
    packed = Path(__file__).parent / "project"  # setup.py puts them there
    source = packed if packed.exists() else Path(__file__).parents[2]  # else this is a clone
    files = [path for part in ("configs", "notebooks") for path in sorted((source / part).glob("*.*"))]
    targets = {path: folder / path.relative_to(source) for path in files}
    changed = [str(to) for path, to in targets.items() if to.exists() and to.read_bytes() != path.read_bytes()]
    if changed:
        raise InputError(f"{', '.join(changed)}: there already, with other content; nothing was copied")
    for path, to in targets.items():
        to.parent.mkdir(parents=True, exist_ok=True)
        with replacing(to) as beside:
            shutil.copyfile(path, beside)
    return list(targets.values())
