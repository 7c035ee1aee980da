# SPDX-License-Identifier: Apache-2.0
"""ITK in a process of its own, for registration.

ITK's libraries take more than half a gigabyte and seconds to load, and code in C++ may crash. So they are loaded by a
second process, which :func:`ask` starts when it is first needed and :func:`end` ends, or the end of this one. What runs
there, ``python -m bundle.itk_process``, imports neither PyTorch nor MONAI.
"""

from bundle.itk_process.asking import ask, end

__all__ = ["ask", "end"]
