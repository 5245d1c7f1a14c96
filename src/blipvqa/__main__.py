"""The steps of the notebooks from a shell: `blipvqa run|train|evaluate|report CONFIG`, or `python -m blipvqa …`.

`accelerate launch -m blipvqa train CONFIG --name x --set key=value` starts it on several GPUs or machines, and
`evaluate` and `predict` likewise. What brings in torch is imported once all names and settings were read: it takes
seconds, for which nobody should wait who has mistyped one.
"""

from __future__ import annotations

import argparse
import os
import sys

from blipvqa.arguments import TRAINING, parser
from blipvqa.config.knobs import Config
from blipvqa.config.paths import project_path, project_root
from blipvqa.config.reading import load_config, parse_overrides
from blipvqa.errors import InputError, UserError
from blipvqa.runs.run import Run, named_run, run_config
from blipvqa.several_runs import SEVERAL_RUNS


def main(arguments: list[str] | None = None) -> int:
    """Run one command; bad input is one message on stderr and exit code 2."""
    options = parser().parse_args(arguments)
    try:
        return _run(options)
    except KeyboardInterrupt as stopped:
        print(stopped, file=sys.stderr)
        return 130
    except (UserError, ValueError, OSError, RuntimeError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.command == "init":
        from blipvqa.workflow import lay_out

        files = lay_out(options.folder)
        print(f"{options.folder}: {len(files)} files. cd {options.folder} && blipvqa run configs/demo.yaml")
        return 0
    if options.command in SEVERAL_RUNS:
        return SEVERAL_RUNS[options.command](options)
    if options.command in ("score", "predictions"):
        return _others(options)
    if options.command == "shards":
        return _shards(options)
    if options.command == "clean-cache":
        return _clean_cache(load_config(options.config))
    from blipvqa.first_look import look_at_data, run_with_model

    if options.command in ("export", "push"):
        return _take_away(run_with_model(options.name), options)
    overrides = parse_overrides(options.set)
    if options.command == "page":
        return _page(run_with_model(options.name, None, overrides, "vqa"), options)
    if options.command == "predict":
        return _predict(run_with_model(options.name, None, overrides, "vqa"), options)
    config = load_config(options.config, overrides, options.name) if options.config else None
    if options.command in (*TRAINING, "learn-on"):
        _look_first(config, options.command == "learn-on")
    several = config and (config.bootstrap.clean or config.continual.stages)  # runs, which have no name of their own
    if options.command == "learn-on" or (options.command == "train" and config.continual.stages):
        return _learn_on(config)
    if options.command not in TRAINING and not several:
        config = (run_config if options.command == "report" else run_with_model)(
            options.name, options.config, overrides
        )
    match options.command:
        case "run" | "stress":
            return _notebooks(config, options.command, options.config, options.name, overrides)
        case "train":
            return _train(config)
        case "evaluate":
            on = load_config(options.on) if options.on else None
            look_at_data(on or config)
            return _evaluate_on(config, on) if on else _evaluate(config, options.new_data)
        case _:
            return _report(config)


def _look_first(config: Config, learn_on: bool) -> None:
    from blipvqa.continual.stages import plan
    from blipvqa.first_look import look_at_training

    sequence = learn_on or config.continual.stages
    look_at_training(config, [stage.config for stage in plan(config).stages] if sequence else ())


def _notebooks(config: Config, command: str, config_path: str | None, name: str | None, overrides: dict) -> int:
    try:
        from papermill import PapermillExecutionError
    except ModuleNotFoundError as error:
        raise InputError(f"running notebooks needs {error.name}: pip install 'blipvqa[notebooks]'") from None

    from blipvqa.tasks import task_of
    from blipvqa.workflow import BOOTSTRAPPING, CONTINUING, run_notebooks

    try:
        notebooks = BOOTSTRAPPING if config.bootstrap.clean else task_of(config).notebooks
        notebooks = CONTINUING if config.continual.stages else notebooks
        run_notebooks(config, config_path, name, overrides, notebooks if command == "run" else ("05_stress_test",))
    except PapermillExecutionError as error:
        print(f"{error.ename}: {error.evalue}", file=sys.stderr)
        return 2
    return _report(config) if command == "run" else 0


def _learn_on(config: Config) -> int:
    from blipvqa.continual.report import write_report
    from blipvqa.continual.sequence import learn_on

    print(f"open {write_report(learn_on(config)).relative_to(project_root())}")
    return 0


def _others(options: argparse.Namespace) -> int:
    if options.command == "score":
        config = load_config(options.config, parse_overrides(options.set), options.name)
        from blipvqa.first_look import look_at_predictions

        look_at_predictions(options.predictions, config)
        from blipvqa.vqa.scoring_others import score_others

        run = score_others(config, options.predictions, options.split)
        print(f"{run.name}: open {(run.folder / 'report.html').relative_to(project_root())}")
        return 0
    run = named_run(options.name)
    run.check_task("vqa")
    predictions = run.predictions(run.evaluated_split)
    from blipvqa.vqa.others import write_others

    path = write_others(predictions, options.output, options.form)
    print(f"{run.name}: wrote {path.name}")
    return 0


def _train(config: Config) -> int:
    from blipvqa.tasks import fine_tune

    if config.bootstrap.clean:
        from blipvqa.bootstrapping.rounds import bootstrap

        _say(bootstrap(config).run)
        return 0
    _say(fine_tune(config))
    return 0


def _say(what: object) -> None:
    """Print it; of several processes, one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(what)


def _evaluate(config: Config, new_data: bool) -> int:
    from blipvqa.tasks import evaluate

    run = evaluate(config, new_data=new_data)
    _say(f"{run.folder.name}: see metrics-*.json and notebook 03")
    return 0


def _evaluate_on(config: Config, other: Config) -> int:
    from blipvqa.vqa.elsewhere import evaluate_elsewhere

    scores = evaluate_elsewhere(config, other)
    value = scores["overall"]["exact_match"]["value"]
    for warning in scores["warnings"]:
        print(warning)
    shown = "no question" if value is None else f"exact match {value:.3f}"
    print(f"{config.name} on {other.name}: {shown}; see elsewhere-{other.name}-{scores['split']}.json")
    return 0


def _predict(config: Config, options: argparse.Namespace) -> int:
    from blipvqa.first_look import look_at_questions

    look_at_questions(options.input, options.questions, options.output)
    from blipvqa.vqa.answering import answer_all

    path = answer_all(config, options.input, options.output, questions=options.questions, skip=options.skip)
    _say(f"{config.name}: open {path}")
    return 0


def _take_away(config: Config, options: argparse.Namespace) -> int:
    from blipvqa.sharing import export_int8, push

    if options.command == "export":
        print(f"{config.name}: see {export_int8(Run(config.folder)).relative_to(project_root())}")
    else:
        print("\n".join(push(Run(config.folder), options.repo, options.send)))
    return 0


def _page(config: Config, options: argparse.Namespace) -> int:
    from blipvqa.first_look import run_with_model

    nearest = Run(run_with_model(options.nearest, task="retrieval").folder) if options.nearest else None
    try:
        from blipvqa.page.serving import serve
    except ModuleNotFoundError as error:
        raise InputError(f"the page needs {error.name}: pip install 'blipvqa[page]'") from None

    serve(config, options.host, options.port, nearest)
    return 0


def _report(config: Config) -> int:
    if config.bootstrap.clean:
        from blipvqa.bootstrapping.report import write_report as write_bootstrap_report
        from blipvqa.bootstrapping.rounds import load_bootstrapped

        path = write_bootstrap_report(load_bootstrapped(config))
    elif config.continual.stages:
        from blipvqa.continual.report import write_report as write_sequence_report
        from blipvqa.continual.sequence import load_learnt

        path = write_sequence_report(load_learnt(config))
    else:
        run = Run(config.folder)
        run.predictions(run.evaluated_split)  # raises where there are none
        from blipvqa.data.dataset import load_splits
        from blipvqa.tasks import write_report

        path = write_report(run, load_splits(config))
    print(f"{config.name}: open {path.relative_to(project_root())}")
    return 0


def _shards(options: argparse.Namespace) -> int:
    from blipvqa.data.conversion import write_shards

    config = load_config(None, parse_overrides(options.set) | {"data.source": options.source})
    print(write_shards(config, options.folder, options.workers))
    return 0


def _clean_cache(config: Config) -> int:
    from blipvqa.data.cache import clean_cache

    print(clean_cache(project_path(config.data.cache_dir)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
