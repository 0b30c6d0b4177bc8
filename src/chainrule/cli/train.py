"""`chainrule train`: from a data set to a run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chainrule.cli.interrupts import default_interrupts
from chainrule.cli.model_cards import CARDS
from chainrule.cli.names import complete_dataset, complete_preset, complete_trainable
from chainrule.cli.options import AsJson, Overwrite, add_command
from chainrule.cli.output import Interrupted, print_facts, print_json, say, show
from chainrule.cli.run_pictures import draw_run
from chainrule.cli.setting_values import LEARNED_ORDERINGS, build_model, parse_settings, split_settings
from chainrule.cli.sources import DataChoice, model_name_of, notes_of
from chainrule.cli.table_runs import refuse_options
from chainrule.cli.table_train import TableOptions, is_table, train_table
from chainrule.errors import ChainruleError, unknown_name

if TYPE_CHECKING:
    from chainrule.data import Dataset
    from chainrule.likelihood import LikelihoodModel
    from chainrule.training import Run

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    add_command(
        app,
        train,
        "chainrule train nade --data digits --out runs/nade",
        "chainrule train made --data digits --set hidden=500,500 --set epochs=30 --out runs/made",
        "chainrule train fvsbn --preset paper --out runs/fvsbn",
        "chainrule train nade --data digits --condition-on-labels --out runs/nade-by-class",
        "chainrule train nade --data digits --set ordering=learned --out runs/nade-learned",
        "chainrule train made --data my_images.npz --threshold 127 --out runs/mine",
        "chainrule train made --data my_table.csv --set numeric=gaussian_mixture --out runs/table",
        "chainrule train --resume --out runs/nade",
    )


def train(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model's name (see `chainrule models`); not needed with --resume.",
            autocompletion=complete_trainable,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="RUN", help="The run folder to make.", show_default=False)
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="D",
            help="A data set's name (see `chainrule datasets`) or a path: .npz, .npy, .csv, .parquet, idx, "
            "PNGs. A .csv of more than 0 and 1 is modelled as a table, a family for every column.",
            autocompletion=complete_dataset,
            show_default=False,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="A setting of the model (`chainrule models NAME`) or of training: epochs, batch_size, "
            "learning_rate, weight_decay, adam_epsilon, warmup_steps, schedule, final_fraction, clip_norm, "
            "ema_decay, patience, validate_every, precision, device, checkpoint_minutes, seed. Of tables: "
            "numeric (the family of columns with a density: student_t, gaussian_mixture, ...), "
            "numeric_transform (standard, quantile), steps. May be repeated.",
            show_default=False,
        ),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            metavar="P",
            help="A published configuration; --set still changes it.",
            autocompletion=complete_preset,
            show_default=False,
        ),
    ] = None,
    condition_on_labels: Annotated[
        bool, typer.Option("--condition-on-labels", help="Model p(x | class label) instead of p(x).")
    ] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", help="Own files: 1 where a value is greater than this.", show_default=False
        ),
    ] = None,
    dynamic: Annotated[
        bool, typer.Option("--dynamic", help="Own files of grey levels 0-255: draw 0 / 1 anew at each use.")
    ] = False,
    levels: Annotated[
        int | None,
        typer.Option(
            "--levels", help="Own files: values a variable can take; 2 if not said.", show_default=False
        ),
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Own files: model the columns as a table, even of 0 and 1 only.")
    ] = False,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            metavar="COLUMN",
            help="Tables: leave a column out. May be repeated.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            "--schema",
            metavar="FILE",
            help="Tables: what the columns are, an edited schema.json.",
            show_default=False,
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Tables: accept empty cells later where there are none now."),
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; bit-equal to a run never stopped.")
    ] = False,
    overwrite: Overwrite = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train a model; the run folder then holds weights, configuration, metrics and pictures.

    The best validation epoch is kept, and the test split is not looked at. Ctrl-C or a crash loses at most
    some minutes: `chainrule train --resume --out RUN` goes on.
    """
    if out is None:
        raise ChainruleError("--out is missing: name the run folder to make, such as --out runs/nade.")
    data_options = _data_options(threshold, dynamic, levels)
    values = parse_settings(settings or [])
    of_table = TableOptions(tuple(drop or ()), schema, allow_missing, values)
    if _is_table(data, out, table or of_table.any_given, data_options, resume):
        refuse_options("training", {"--preset": preset, "--condition-on-labels": condition_on_labels})
        train_table(
            model, data, out, of_table, resume=resume, overwrite=overwrite, quiet=quiet, as_json=as_json
        )
        return
    plan = _Plan(model, data, values, preset, condition_on_labels)
    plan.data_options = data_options
    plan.quiet = quiet
    if resume and (out / "config.json").exists():
        plan.continue_run(out)
    elif resume and (model is None or (data is None and preset is None)):
        raise ChainruleError(f"{out} holds no run to resume; give MODEL and --data to start one there.")
    dataset, network, training = plan.prepare()
    run, already_finished = _fit(plan, network, dataset, training, out, resume, overwrite, quiet)
    if already_finished:
        say(f"{out} is a finished run; there is nothing to resume.")
        pictures = sorted(path.name for path in out.glob("*.png"))
    else:
        pictures = draw_run(run, network, dataset, title=plan.model_name)
    _report(run, network, plan, pictures, as_json)


def _is_table(data: str | None, out: Path, forced: bool, data_options: dict[str, Any], resume: bool) -> bool:
    """Whether a table is to be trained, or the run to resume is one of a table."""
    from chainrule.cli.table_plan import noted_plan

    if resume and noted_plan(out) is not None:
        return True
    if data is None:
        return False
    asked = any(value not in (None, False) for value in data_options.values())
    if forced and asked:
        raise ChainruleError("a table takes no --threshold, --dynamic or --levels; leave them out.")
    return is_table(data, forced=forced, read_as_levels=asked)


def _data_options(threshold: float | None, dynamic: bool, levels: int | None) -> dict[str, Any]:
    """How to read a person's own files; `ChainruleError` for options that exclude each other."""
    options = {"threshold": threshold, "dynamic": dynamic, "levels": levels}
    if dynamic and (threshold is not None or levels not in (None, 2)):
        raise ChainruleError("--dynamic draws 0 / 1 from grey levels: leave --threshold and --levels out.")
    if threshold is not None and levels not in (None, 2):
        raise ChainruleError("--threshold makes binary data: leave --levels out.")
    return options


@dataclass
class _Plan:
    """What to train: from the command line, a preset, or the run that is resumed."""

    model: str | None
    data: str | None
    values: dict[str, Any]
    preset: str | None
    condition_on_labels: bool
    data_options: dict[str, Any] = field(default_factory=dict)
    # Of the run to resume:
    settings: dict[str, Any] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    choice: DataChoice | None = None
    members: int = 1
    quiet: bool = False

    @property
    def model_name(self) -> str:
        """The model, which must be known by now."""
        if self.model is None:
            raise ChainruleError(
                "MODEL is missing: name what to train, such as nade (see `chainrule models`)."
            )
        return self.model

    def continue_run(self, folder: Path) -> None:
        """Take from the run's configuration everything that the command line did not say."""
        from chainrule.training import Run

        config = Run(folder).config
        name = model_name_of(config)
        if self.model not in (None, name):
            raise ChainruleError(f"{folder} is a run of {name}, not of {self.model}; choose another --out.")
        self.model = name
        if not isinstance(config["training"], dict):
            raise ChainruleError(f'{folder / "config.json"}: "training" must be a dict of settings.')
        self.settings, self.training = dict(config["settings"]), dict(config["training"])
        self.settings.pop("event_shape", None)
        self.preset = self.preset or notes_of(config).get("preset")
        self.choice = DataChoice.of_run(config)

    def prepare(self) -> tuple[Dataset, LikelihoodModel, dict[str, Any]]:
        """The data, a fresh model for it, and the settings of training."""
        from chainrule.models import MODELS
        from chainrule.training import training_settings

        if self.model_name not in MODELS:
            raise unknown_name("model", self.model_name, MODELS)
        if not CARDS[self.model_name].trainable:
            raise ChainruleError(
                f"an {self.model_name} is made of trained models: train them, then "
                "`chainrule mix RUN RUN --out FOLDER`."
            )
        self._apply_preset()
        model_class = MODELS[self.model_name]
        of_model, of_training = split_settings(model_class, self.values)
        self.settings |= of_model
        self.training |= of_training
        checked = training_settings(self.training)
        dataset = self._load_data()
        self._check_splits(dataset)
        if self.condition_on_labels:
            self._condition_on(dataset, model_class)
        self._learn_ordering(dataset)
        model = build_model(model_class, dataset.event_shape, self.settings, checked.seed)
        return dataset, model, self.training

    def _learn_ordering(self, dataset: Dataset) -> None:
        """Replace the name of an ordering that needs the data by the ordering itself."""
        from chainrule.orderings import ORDERINGS, greedy_entropy_ordering

        asked = self.settings.get("ordering")
        if asked == "greedy":
            self.settings["ordering"] = greedy_entropy_ordering(dataset.split("train")).spec
        elif asked == "learned":
            from chainrule.training import learn_ordering

            tell = (lambda line: None) if self.quiet else say
            tell("learning an ordering: the validation NLL of an FVSBN in each")
            learned = learn_ordering(
                dataset, on_candidate=lambda name, nll: tell(f"  {name}: {nll:.2f} nats")
            )
            self.settings["ordering"] = learned.ordering.spec
        elif isinstance(asked, str) and asked.partition(":")[0] not in ORDERINGS:
            raise unknown_name("ordering", asked, {*ORDERINGS, *LEARNED_ORDERINGS})

    def notes(self) -> dict[str, Any]:
        """What the run must remember beside settings."""
        assert self.choice is not None
        return {"preset": self.preset, "data": self.choice.note()}

    def _apply_preset(self) -> None:
        from chainrule import presets

        if self.preset is None:
            return
        chosen = presets.preset(self.model_name, self.preset)
        self.members = chosen.members
        self.data = self.data or (None if self.choice else chosen.data)
        self.settings = {**chosen.settings, **self.settings}
        self.training = {**chosen.training, **self.training}

    def _load_data(self) -> Dataset:
        if self.data is not None:
            self.choice = DataChoice.given(self.data, **self.data_options)
        if self.choice is None:
            raise ChainruleError("--data is missing: name a data set (see `chainrule datasets`) or a file.")
        return self.choice.load()

    def _check_splits(self, dataset: Dataset) -> None:
        """Training selects on validation examples; people's own files can lack them."""
        assert self.choice is not None
        if not self.choice.is_file:
            return
        missing = [split for split in ("train", "validation") if getattr(dataset, split) is None]
        if missing:
            raise ChainruleError(
                f"{self.choice.spec} has no {missing[0]} examples: add an array named {missing[0]!r} to the "
                ".npz, or keep all examples in one array, which is then split 80 / 10 / 10."
            )

    def _condition_on(self, dataset: Dataset, model_class: type[LikelihoodModel]) -> None:
        from chainrule.cli.setting_values import model_settings_of

        if "context_size" not in model_settings_of(model_class):
            raise ChainruleError(f"{self.model_name} cannot be conditioned on labels: it takes no context.")
        if not dataset.labels:
            raise ChainruleError(f"--condition-on-labels needs class labels, but {dataset.name} has none.")
        self.settings["context_size"] = 1 + max(int(labels.max()) for labels in dataset.labels.values())


def _fit(
    plan: _Plan,
    network: LikelihoodModel,
    dataset: Dataset,
    training: dict[str, Any],
    out: Path,
    resume: bool,
    overwrite: bool,
    quiet: bool,
) -> tuple[Run, bool]:
    """The run, and whether it had been finished before."""
    from chainrule.training import Run, fit, training_settings

    if resume and (out / "config.json").exists() and Run(out).is_finished:
        checked = training_settings(training)
        run = Run.begin(out, network, dataset, checked, resume=True, overwrite=False, notes={})
        return run, True
    try:
        with default_interrupts():
            run = fit(
                network,
                dataset,
                out,
                resume=resume,
                overwrite=overwrite,
                progress=not quiet,
                notes=plan.notes(),
                **training,
            )
    except KeyboardInterrupt:
        raise Interrupted(
            f"`chainrule train --resume --out {out}` continues from the last checkpoint."
        ) from None
    return run, False


def _report(run: Run, network: LikelihoodModel, plan: _Plan, pictures: list[str], as_json: bool) -> None:
    metrics = run.metrics()
    best = min((r for r in metrics if "validation_nll" in r), key=lambda r: r["validation_nll"])
    seconds = metrics[-1]["seconds"]
    bits = best["validation_nll"] / (network.num_variables * math.log(2))
    estimated = getattr(network, "order_agnostic", False)
    if as_json:
        print_json(
            {
                "run": str(run.folder),
                "model": plan.model_name,
                "data": run.data_name,
                "parameters": network.num_parameters,
                "epochs": metrics[-1]["epoch"],
                "selected_epoch": best["epoch"],
                "validation_nll": best["validation_nll"],
                "validation_bits_per_dim": bits,
                "validation_is_estimate": estimated,
                "seconds": seconds,
                "pictures": pictures,
            }
        )
        return
    kind = "estimated over orderings" if estimated else "exact"
    print_facts(
        [
            ("run", str(run.folder)),
            ("model", f"{plan.model_name}, {network.num_parameters:,} parameters"),
            (
                "validation",
                f"{best['validation_nll']:.2f} nats ({kind}), {bits:.4f} bits/dim, epoch {best['epoch']}",
            ),
            ("training", f"{metrics[-1]['epoch']} epochs in {seconds:.1f} s"),
            ("pictures", ", ".join(pictures) or "none"),
        ]
    )
    members = f" --members {plan.members}" if plan.members > 1 else ""
    context = " --context 7" if network.context_size else ""
    suffix = "png" if len(network.event_shape) == 3 else "csv"
    show("\nNext:")
    show(f"  chainrule evaluate {run.folder}{members}")
    show(f"  chainrule sample {run.folder} -n 64{context} --out samples.{suffix}")
