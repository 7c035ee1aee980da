# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share; each sets the config key that is its ``dest``."""

import argparse

from bundle.cli import values


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the option that chooses a processor."""
    parser.add_argument(
        "--device", type=values.device, metavar="NAME", help="cpu, cuda or cuda:1; default: the first GPU"
    )


def add_output(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Add the option that names the folder of the results."""
    parser.add_argument("-o", "--output", dest="output_dir", type=values.path, metavar="FOLDER", help=meaning)


def add_contrast(parser: argparse._ActionsContainer, meaning: str) -> None:
    """Add the option that chooses the reference's contrast."""
    parser.add_argument("--reference-contrast", choices=("auto", "PDw", "T1w"), help=meaning)


def add_switch(parser: argparse._ActionsContainer, flag: str, meaning: str) -> None:
    """Add an option without a value that sets the key it names to true, or to false where it begins with ``--no-``."""
    negative = flag.startswith("--no-")
    key = flag.removeprefix("--no-" if negative else "--").replace("-", "_")
    parser.add_argument(flag, dest=key, action="store_const", const=not negative, help=meaning)
