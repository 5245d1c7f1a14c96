"""What a run depended on, and the memory it took."""

from __future__ import annotations

import platform
import subprocess
import time
from importlib.metadata import version

import torch

from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path, project_root
from blipvqa.runs.seals import digest_of_file

PACKAGES = ("torch", "transformers", "accelerate", "datasets", "tokenizers", "peft", "pillow", "numpy")


def peak_memory_gib() -> float | None:
    """The most memory held so far: of the GPU's, or this process's on a CPU; None where the system does not say."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**30, 3)
    try:
        import resource  # Windows has none
    except ImportError:
        return None
    unit = 1 if platform.system() == "Darwin" else 1024  # macOS counts bytes, Linux KiB
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30, 3)


def files_read(config: Config) -> dict[str, str]:
    """The digests of the files that the config names and whose content numbers depend on, by knob."""
    places = {"caption.terms": project_path(config.caption.terms)} if config.caption.terms else {}
    return {knob: digest_of_file(place) for knob, place in places.items() if place.is_file()}


def describe_environment(config: Config, **more) -> dict:
    """Versions, platform, git commit, seed; nothing of the user or the machine's name."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "git_commit": _git_commit(),
        "seed": config.seed,
        "files": files_read(config),
        "started": time.strftime("%Y-%m-%d %H:%M:%S"),
        **more,
    }


def _git_commit() -> str | None:
    try:
        output = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=project_root(), capture_output=True, encoding="utf-8", timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return output.stdout.strip() or None
