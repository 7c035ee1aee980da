# SPDX-License-Identifier: Apache-2.0
"""What is kept of a run, to find it among others and to repeat it: settings, the config as it ran, metrics, images."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from ignite.engine import Engine, Events

from bundle.config import running_parser
from bundle.config_files import TARGET
from bundle.errors import InputError
from bundle.files import atomic_path
from bundle.parallel import is_first
from bundle.settings import TrainingRecord
from bundle.version import package_version

logger = logging.getLogger(__name__)

CONFIG_NAME: Final = "config.yaml"  # beside a run's results: repeats it
METRICS: Final = ("PSNR", "SSIM")  # curves that runs are compared by in TensorBoard
# Where `--tracking mlflow` adds a handler, by the names that MONAI has for them.
HANDLERS: Final = {"trainer": "train::handlers", "validator": "validate::handlers", "evaluator": "handlers"}


def save_config(output_dir: str | os.PathLike[str], base: str | os.PathLike[str], run_id: str) -> None:
    """Write the config that is running, overlays and overrides merged, as ``config.yaml``, which can be run again.

    For use as an expression in ``initialize``. It names the command that runs ``run_id`` of the stage's config,
    ``base``, again. What ``--tracking`` has added is left out.
    """
    if not is_first():
        return
    path = Path(output_dir) / CONFIG_NAME
    header = (
        f"# As it ran, version {package_version()}. Again, in the bundle's folder:\n"
        f"#   python -m monai.bundle run {run_id} --config_file \"['{base}', '{path}']\" --output_dir ANOTHER\n"
    )
    try:
        text = yaml.safe_dump(_untracked(running_parser().config), sort_keys=False, allow_unicode=True, width=120)
    except yaml.YAMLError as error:  # objects, where a program has set keys
        logger.warning("%s is not written: a setting is no value that YAML can hold (%s).", path, error)
        return
    with atomic_path(path) as temporary:
        temporary.write_text(header + text, encoding="utf-8")


def extend_handlers() -> None:
    """Let the handlers that ``--tracking mlflow`` added record what the config says under ``mlflow``.

    For use as an expression in ``initialize``: MONAI's own defaults keep neither settings nor more than one loss.
    """
    parser = running_parser()
    more = parser.get("mlflow", {})
    found = False
    for engine, identity in HANDLERS.items():
        handlers = parser.get(identity)
        for index, handler in enumerate(handlers if isinstance(handlers, list) else []):
            if _is_mlflow(handler):  # a new dictionary, since MONAI's is its global default
                handlers[index] = {**handler, **more.get(engine, {}), "_disabled_": not is_first()}
                found = True
    if found:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # hospitals' machines tell nobody what they do
        parser.parse(reset=True)  # what was parsed before holds MONAI's own


def store(folder: str | os.PathLike[str]) -> str:
    """Return MLflow's name of a data base in a folder, in one file, which needs no server.

    ``InputError`` where the folder's name holds what MLflow takes for something else in such a name.
    """
    path = Path(folder).expanduser().resolve().as_posix()
    if {"?", "%"} & {*path}:
        raise InputError(f"{path}: MLflow needs a folder without ? and % in its name; choose another output_dir.")
    return f"sqlite:///{path}/mlruns.db"


def hyper_parameters(record: TrainingRecord) -> dict[str, bool | float | str]:
    """Return the settings of a training record: what is one value, or as text a few."""
    values = {key: str(value) if isinstance(value, list) else value for key, value in record.to_json().items()}
    return {key: v for key, v in values.items() if key != "train_cases" and isinstance(v, (bool, int, float, str))}


@dataclass(eq=False)
class RunRecord:
    """Put hyper-parameters and ``config.yaml`` of ``output_dir`` into TensorBoard when training starts."""

    writer: Any  # torch.utils.tensorboard.SummaryWriter
    settings: dict[str, Any]
    output_dir: str | os.PathLike[str]

    def attach(self, engine: Engine) -> None:
        """Write when the engine starts."""
        engine.add_event_handler(Events.STARTED, self.write)

    def write(self) -> None:
        """Write the hyper-parameters and the config as text."""
        from torch.utils.tensorboard.summary import hparams

        # by add_hparams of the writer they would become another run
        for summary in hparams(self.settings, dict.fromkeys(METRICS, 0.0)):
            self.writer._get_file_writer().add_summary(summary)
        config = Path(self.output_dir) / CONFIG_NAME
        if config.is_file():
            lines = config.read_text(encoding="utf-8").splitlines()
            self.writer.add_text("config", "\n".join(f"    {line}" for line in lines))  # indented: Markdown's code
        self.writer.flush()


def _is_mlflow(handler: Any) -> bool:
    return isinstance(handler, dict) and handler.get(TARGET) == "MLFlowHandler"


def _untracked(value: Any) -> Any:
    """Return a configuration, or a part of one, without what ``--tracking`` adds, and without metadata."""
    if isinstance(value, dict):
        return {key: _untracked(inner) for key, inner in value.items() if key != "_meta_"}
    if isinstance(value, list):
        return [_untracked(inner) for inner in value if not _is_mlflow(inner)]
    return value
