# SPDX-License-Identifier: Apache-2.0
"""The command line ``mcsr``: which command, with which options, and how it ended."""

import argparse
import contextlib
import difflib
import logging
import os
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from bundle.cli.dialect import Spelling, respelt, spelling_of
from bundle.cli.options import CONTRAST, count, existing, path, read_settings, split_keys
from bundle.cli.stage_run import Messages, command_lines, run_stage
from bundle.cli.stages import OWN, STAGES, Stage, add_common_options
from bundle.config_files import bundle_root, read_config, refuse_unknown_keys
from bundle.console import error_text, escape_messages
from bundle.errors import InputError, SomeFailedError, input_error
from bundle.version import package_version

_DESCRIPTION: Final = """\
Sharpen low-resolution T2-weighted MR images with the help of a sharp T1- or PD-weighted image of the same patient.
For research only. Not a medical device: do not use the results for diagnosis."""
_EPILOG: Final = """\
examples:
{examples}

'mcsr COMMAND --help' explains a command. Exit status: 0 all is done, 1 some cases failed and the others are done,
2 wrong use or nothing could be done, 130 interrupted, 70 a defect of this program."""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **settings: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings)

    def error(self, message: str) -> NoReturn:
        """Tell what is wrong in one sentence, rather than below a page of options."""
        raise InputError(f"{message}; '{self.prog} --help' explains.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``mcsr``, of this process by default, and return the exit status, as its help explains."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_streams()
    # before PyTorch is there: its threads would otherwise spin while they wait for one that another program holds up
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    parser, commands = build_parser()
    spelling = spelling_of(commands[name]) if (name := _command_of(words)) in STAGES else {}
    try:
        _run(words, parser, commands, spelling)
    except (Exception, KeyboardInterrupt) as error:
        found = input_error(error)
        if found and {"-v", "--verbose"} & {*words}:
            traceback.print_exception(error)
        sys.stderr.write(respelt(error_text(error), spelling))
        if isinstance(error, KeyboardInterrupt):
            return 130
        if found is None:
            return os.EX_SOFTWARE
        return 1 if isinstance(found, SomeFailedError) else 2
    return 0


def _open_streams() -> None:
    """Open what is closed of the standard streams, or the next file that is opened would get what is meant for them."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or Path(os.devnull).open("w")  # noqa: SIM115
    sys.stderr = sys.stderr or Path(os.devnull).open("w")  # noqa: SIM115


def build_parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and those of the commands by name."""
    epilog = _EPILOG.format(examples="\n".join(f"  {stage.example}" for stage in STAGES.values()))
    parser = _Parser(prog="mcsr", description=_DESCRIPTION, epilog=epilog)
    parser.add_argument("--version", action="version", version=f"mcsr {package_version()}", help="print the version")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, title="commands")
    for name, stage in STAGES.items():
        text = f"{stage.summary[0].upper()}{stage.summary[1:]}.\n\nexample:\n  {stage.example}"
        # what is not given stays as the config has it
        command = commands.add_parser(name, help=stage.summary, description=text, argument_default=argparse.SUPPRESS)
        stage.add_options(command)
        add_common_options(command)
    _add_dataset_commands(commands)
    return parser, dict(commands.choices)


def _add_dataset_commands(commands: Any) -> None:
    phantom = commands.add_parser(
        "phantom",
        help="write a simulated data set",
        description="Write simulated heads as T2w, PDw and T1w images, to try things with. No person was scanned.\n\n"
        "example:\n  mcsr phantom data/phantom --subjects 8",
    )
    phantom.add_argument("folder", type=path, metavar="FOLDER", help="new folder")
    phantom.add_argument("--subjects", type=count, default=8, metavar="N", help="how many; default: 8")
    seed = "another number gives other heads; default: 0"
    phantom.add_argument("--seed", type=int, default=0, metavar="N", help=seed)
    phantom.set_defaults(run=_write_phantom)
    check = commands.add_parser(
        "check",
        help="look at a data set before training",
        description="Read all pairs of a data set as training does, and tell what can train, what cannot, and why.\n"
        "Nothing is written.\n\nexample:\n  mcsr check FOLDER",
    )
    check.add_argument("dataset_dir", type=existing, metavar="DATA", help="as of mcsr train")
    which = "default: auto, whichever has more pairs"
    check.add_argument("--reference-contrast", **CONTRAST, default="auto", help=which)
    check.set_defaults(run=_check_data)
    ixi = commands.add_parser(
        "ixi",
        help="download the IXI data set",
        description="Download T2 and PD images of the 578 healthy people of IXI: 8 GB, 12 GB on the way. Licence\n"
        "CC BY-SA 3.0; acknowledge https://brain-development.org/ixi-dataset/. Run it again to go on after an\n"
        "interruption.\n\nexample:\n  mcsr ixi data/ixi",
    )
    ixi.add_argument("folder", type=path, metavar="FOLDER", help="where to put IXI-T2 and IXI-PD")
    ixi.add_argument("--contrasts", nargs="+", choices=("T2", "PD", "T1"), default=["T2", "PD"], help="default: T2 PD")
    ixi.add_argument("--base-url", metavar="URL", help="folder on the web that holds IXI-T2.tar, such as a mirror")
    ixi.add_argument("--no-checksum", action="store_true", help="check sizes alone")
    ixi.add_argument("--keep-archives", action="store_true", help="keep the tar files")
    ixi.set_defaults(run=_download_ixi)


def _write_phantom(options: argparse.Namespace) -> None:
    from bundle.phantom.dataset import write_phantom  # takes seconds, as below

    write_phantom(options.folder, options.subjects, options.seed)


def _check_data(options: argparse.Namespace) -> None:
    from bundle.tools.dataset_check import DatasetCheck

    check = DatasetCheck(options.dataset_dir, options.reference_contrast)
    sys.stdout.write(f"{check.text()}\n")
    check.raise_failures()


def _download_ixi(options: argparse.Namespace) -> None:
    from bundle.tools.ixi import BASE_URL, CHECKSUMS, download_ixi

    checksums = {} if options.no_checksum else CHECKSUMS
    url = options.base_url or BASE_URL
    download_ixi(options.folder, options.contrasts, url, checksums, keep_archives=options.keep_archives)


def _command_of(words: Sequence[str]) -> str:
    return next((word for word in words if not word.startswith("-")), "")


def _run(
    words: list[str],
    parser: argparse.ArgumentParser,
    commands: Mapping[str, argparse.ArgumentParser],
    spelling: Spelling,
) -> None:
    if (name := _command_of(words)) not in STAGES:
        namespace = parser.parse_args(words)
        logging.basicConfig(level=logging.INFO, format="%(message)s")
        escape_messages()
        namespace.run(namespace)
        return
    names = commands[name]._option_string_actions  # argparse tells its options nowhere else
    known, unknown = split_keys(words, names)
    options = {key: value for key, value in vars(parser.parse_args(known)).items() if value is not None}
    _run_stage(STAGES[name], options, unknown, list(names), spelling)


def _run_stage(
    stage: Stage, options: dict[str, Any], unknown: list[tuple[str, str]], names: list[str], spelling: Spelling
) -> None:
    root = bundle_root()
    config = read_config(root / "configs" / stage.config)
    free = read_settings(unknown, options.get("settings", []))
    refuse_unknown_keys(free, config, stage.config, names)
    keys = {key: value for key, value in options.items() if key not in OWN} | free
    keys |= stage.keys(options | free, root)
    overlays = [_overlay(name, root) for name in options.get("configs", [])]
    for overlay in overlays:
        refuse_unknown_keys(read_config(root / overlay), config, stage.config)
    configs = [f"configs/{stage.config}", *overlays]
    if options.get("show_config"):
        sys.stdout.write(command_lines(root, stage.run_id, configs, keys))
        return
    log = options.get("log")
    quiet = options.get("quiet", False) and not keys.get("dry_run")  # whose plan is all that it is for
    messages = Messages(Path(log) if log else None, quiet, options.get("verbose", False), spelling)
    with _report_printed(Path(keys["output_dir"])) if options.get("json") == "-" else contextlib.nullcontext():
        run_stage(root, stage.run_id, configs, keys, messages)


@contextlib.contextmanager
def _report_printed(output_dir: Path) -> Iterator[None]:
    """Print the report that a batch writes, however it ends; one of an earlier batch is not printed."""
    file = output_dir / "report.json"
    before = file.stat().st_mtime_ns if file.is_file() else None
    try:
        yield
    finally:
        if file.is_file() and file.stat().st_mtime_ns != before:
            try:
                sys.stdout.write(file.read_text(encoding="utf-8"))
                sys.stdout.flush()
            except OSError as error:
                with Path(os.devnull).open("wb") as nowhere:  # for what is left of it, which is written on leaving
                    os.dup2(nowhere.fileno(), sys.stdout.fileno())
                raise InputError(f"the report cannot be printed ({error.strerror}); it is in {file}.") from error


def _overlay(name: str, root: Path) -> str:
    """Return the path of a config that is laid over another: a file, or the name of one in ``configs``."""
    if Path(name).expanduser().is_file():
        return str(Path(name).expanduser().absolute())
    known = {file.stem: file for part in ("variants", "baselines") for file in (root / "configs" / part).glob("*.yaml")}
    if name in known:
        return str(known[name].relative_to(root))
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; is {close[0]} meant?" if close else f"; the variants are {', '.join(sorted(known))}."
    raise InputError(f"--config {name}: there is no such file, nor a variant of that name{hint}")
