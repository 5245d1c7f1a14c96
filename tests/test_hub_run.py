"""The whole of `make run` on data and a model that have names on the Hub, and again with the Hub switched off."""

import os
import subprocess
import sys

import pytest
import yaml
from conftest import TINY
from test_hub_clients import DATA, MODEL, _model_files, files  # noqa: F401

from blipvqa import Run


@pytest.mark.slow
def test_a_run_from_the_hub_and_again_without_it(hub, root, files, request):  # noqa: F811
    hub.put("datasets", DATA, files)
    hub.put("models", MODEL, _model_files(root))
    (root / "notebooks").symlink_to(request.config.rootpath / "notebooks")
    (root / "configs").mkdir()
    settings = {"data.source": DATA, "model.name": MODEL, "train.epochs": 1}
    tree: dict = {}
    for key, value in (TINY | settings).items():
        *parts, last = key.split(".")
        place = tree
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    (root / "configs" / "hub.yaml").write_text(yaml.safe_dump(tree))
    hidden = ("http_proxy", "https_proxy", "all_proxy")
    environment = {k: v for k, v in os.environ.items() if k.lower() not in hidden and not k.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(root / "hf"), "BLIPVQA_ROOT": str(root)}

    def run(name: str) -> None:
        command = [sys.executable, "-m", "blipvqa", "run", "configs/hub.yaml", "--name", name]
        done = subprocess.run(command, cwd=root, env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr[-2000:]
        assert (root / "outputs" / name / "report.html").exists()

    run("with")
    commits = Run(root / "outputs" / "with").environment["revisions"]
    assert all(commits.values())
    hub.stop()
    hub.requests.clear()
    run("without")
    assert Run(root / "outputs" / "without").environment["revisions"] == commits
    assert not hub.requests
