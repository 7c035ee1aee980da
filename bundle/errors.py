# SPDX-License-Identifier: Apache-2.0
"""The one exception that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Report unusable input in one sentence that names the file or value and the remedy.

    Input is what the user chose: files, and settings of a config or the command line. A wrong argument that only
    code can pass is a plain ``ValueError``. Every message is shown to users as it stands, without a
    traceback: write it for somebody who has never seen the code.
    """
