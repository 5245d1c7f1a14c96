"""Packs `configs/` and `notebooks/` beside the code, so that `blipvqa init` can lay them out without a clone."""

from setuptools import find_packages, setup

LAID_OUT = ("configs", "notebooks")

setup(
    packages=[*find_packages("src"), *(f"blipvqa.project.{folder}" for folder in LAID_OUT)],
    package_dir={"": "src", **{f"blipvqa.project.{folder}": folder for folder in LAID_OUT}},
    package_data={f"blipvqa.project.{folder}": ["*.yaml", "*.txt", "*.ipynb"] for folder in LAID_OUT},
)
