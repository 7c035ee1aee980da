# SPDX-License-Identifier: Apache-2.0
"""``python -m bundle``: the same as the command ``mcsr``."""

import sys

from bundle.cli import main

if __name__ == "__main__":
    sys.exit(main())
