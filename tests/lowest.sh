#!/bin/sh
# Fast tests with the lowest version of everything that pyproject.toml admits, in a folder beside .venv; torch stays as it is.
# usage: tests/lowest.sh PYTHON [TEST …]
set -e
python=$1
shift
overlay=${OVERLAYS:-.venv/versions}/lowest
if [ ! -d "$overlay" ]; then
    lowest='import re, sys, tomllib
for each in tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"]:
    name, version = re.match(r"([\w-]+)>=([\d.]+)", each).groups()
    if name != "torch" and (name in ("accelerate", "peft")) == (sys.argv[1] == "of torch"):
        print(f"{name}=={version}")'
    install="$python -m pip install --quiet --disable-pip-version-check --target $overlay"
    $install $("$python" -c "$lowest" others)
    $install --no-deps $("$python" -c "$lowest" "of torch")  # else they bring a torch of their own
fi
PYTHONPATH=$overlay exec "$python" -m pytest -q ${@:-tests/config tests/data tests/numbers tests/pages tests/models}
