# SPDX-License-Identifier: Apache-2.0
"""Times as people say them."""


def duration(seconds: float) -> str:
    """Write a time as people say it: ``35 s``, ``12 min``, ``3 h 20 min``."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
