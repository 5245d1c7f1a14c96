#!/bin/sh
# The model's tests against each transformers that pyproject.toml admits, every version in a folder of its own beside .venv.
# usage: tests/versions.sh PYTHON [VERSION …]; exits with 1 where one fails.
python=$1
shift
failed=0
for version in ${@:-5.16.1 5.20.2 5.23.0 5.24.0}; do
    overlay=${OVERLAYS:-.venv/versions}/$version
    [ -d "$overlay" ] || "$python" -m pip install --quiet --disable-pip-version-check --target "$overlay" "transformers==$version" || exit 1
    echo "transformers $version"
    PYTHONPATH=$overlay "$python" -m pytest -q tests/models tests/vqa/test_predictions.py tests/vqa/test_explanations.py \
        tests/training/test_loop.py tests/captions/test_caption_runs.py tests/test_ensemble.py tests/test_waits.py || failed=1
done
exit $failed
