# SPDX-License-Identifier: Apache-2.0
"""For the ``initialize`` section of a running config: unknown keys refused, YAML's words read, imports made again."""

import inspect
import os
from pathlib import Path
from typing import Final

from monai.bundle import ConfigExpression, ConfigParser
from monai.bundle.utils import DEFAULT_EXP_MGMT_SETTINGS

from bundle.config_files import read_config, refuse_unknown_keys

YAML_WORDS: Final = {"true": True, "false": False, "null": None}
_ADDED_BY_MONAI: Final = {"_meta_", "finalize"}.union(*(one["configs"] for one in DEFAULT_EXP_MGMT_SETTINGS.values()))


def check_keys(base: str | os.PathLike[str]) -> None:
    """Hold the configuration that is running, overlays and overrides merged, against the file that defines its keys.

    Args:
        base: the YAML file of the stage, such as ``configs/train.yaml``.

    Raises:
        InputError: naming an unknown key and the nearest known one.
    """
    settings = {key: value for key, value in running_parser().config.items() if key not in _ADDED_BY_MONAI}
    refuse_unknown_keys(settings, read_config(Path(base)), Path(base).name)


def read_yaml_words() -> None:
    """Turn ``true``, ``false`` and ``null`` given on the command line into what they mean.

    MONAI's command line reads Python's words only and hands these over as text, of which every one is true. To be
    called before anything else is evaluated from the values.
    """
    parser = running_parser()
    texts = {key: value for key, value in parser.config.items() if isinstance(value, str) and value in YAML_WORDS}
    if texts:
        parser.update({key: YAML_WORDS[value] for key, value in texts.items()})
        parser.parse(reset=True)  # what was parsed before holds the texts


def import_again() -> None:
    """Make the imports of the running configuration once more.

    MONAI makes them before it evaluates anything, and a package that it does not find it replaces by one that raises
    when it is used. To be called once the bundle's folder is on Python's path: from another working directory it was
    not.
    """
    parser = running_parser()
    for statement in parser.config["imports"]:
        ConfigExpression(statement, globals=parser.globals).evaluate()


def running_parser() -> ConfigParser:
    """Return the parser that is evaluating the caller."""
    frame = inspect.currentframe()
    while frame is not None:
        parser = frame.f_locals.get("self")
        if isinstance(parser, ConfigParser):
            return parser
        frame = frame.f_back
    raise RuntimeError("no configuration is being evaluated; call this from a bundle's initialize section.")
