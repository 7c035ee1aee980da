# SPDX-License-Identifier: Apache-2.0
"""``mcsr phantom`` and ``mcsr ixi``: data to train and try things with."""

import argparse
from typing import Any

from bundle.cli.options import count, path


def add_dataset_commands(commands: Any) -> None:
    """Add the commands; each sets ``run``, which does it."""
    phantom = commands.add_parser(
        "phantom",
        help="write a simulated data set",
        description="Write simulated heads as T2w, PDw and T1w images, to try things with. No person was scanned.\n\n"
        "example:\n  mcsr phantom data/phantom --subjects 8",
    )
    phantom.add_argument("folder", type=path, metavar="FOLDER", help="new folder")
    phantom.add_argument("--subjects", type=count, default=8, metavar="N", help="how many; default: 8")
    phantom.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another number gives other heads; default: 0"
    )
    phantom.set_defaults(run=_write_phantom)
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


def _download_ixi(options: argparse.Namespace) -> None:
    from bundle.tools.ixi import BASE_URL, CHECKSUMS, download_ixi

    checksums = {} if options.no_checksum else CHECKSUMS
    url = options.base_url or BASE_URL
    download_ixi(options.folder, options.contrasts, url, checksums, keep_archives=options.keep_archives)
