# SPDX-License-Identifier: Apache-2.0
from bundle.reports.duration import duration


def test_times_are_written_as_people_say_them() -> None:
    assert [duration(s) for s in (0.1, 35, 100, 5400, 12_000)] == ["1 s", "35 s", "2 min", "1 h 30 min", "3 h 20 min"]
