# SPDX-License-Identifier: Apache-2.0
"""Whoever mistypes reads one sentence; whoever meets a defect gets its traceback."""

import logging
import sys
from collections.abc import Callable

import pytest
from monai.bundle import ConfigParser

from bundle.console import error_text, escape_messages, explain_input_errors
from bundle.errors import InputError, input_error

SENTENCE = "a.nii: there is no such file; check the path."


def refuse() -> None:
    raise InputError(SENTENCE)


def refuse_with_cause() -> None:
    try:
        refuse()
    except InputError as error:
        raise RuntimeError("outer") from error


def refuse_deeply() -> None:
    try:
        refuse_with_cause()
    except RuntimeError as error:
        raise ValueError("outermost") from error


def fail_while_refusing() -> None:
    try:
        refuse()
    finally:
        raise KeyError("a defect on the way out")


def refuse_from_a_config() -> None:
    parser = ConfigParser({"imports": ["$import bundle.data as data"], "pairs": "$data.requested_cases('.', image=1)"})
    parser.get_parsed_content("pairs")


def fail() -> None:
    raise ZeroDivisionError("a defect")


def refuse_with_lower_cause() -> None:
    try:
        fail()
    except ZeroDivisionError as error:
        raise InputError(SENTENCE) from error


REFUSALS = [refuse, refuse_with_cause, refuse_deeply, refuse_with_lower_cause]


def caught(function: Callable[[], None]) -> BaseException:
    """Return the error that a function raises, with its traceback."""
    with pytest.raises(Exception) as information:  # noqa: PT011 - of any kind
        function()
    return information.value


def shown(function: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what stands on the screen where nobody catches what a function raises."""
    error = caught(function)
    capsys.readouterr()
    sys.excepthook(type(error), error, error.__traceback__)
    output = capsys.readouterr()
    assert output.out == ""
    return output.err


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Explain input errors, and stop doing so after the test."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    explain_input_errors()


@pytest.mark.parametrize("function", REFUSALS)
def test_input_error_is_found_along_the_chain_of_causes(function: Callable[[], None]) -> None:
    found = input_error(caught(function))
    assert isinstance(found, InputError)
    assert str(found) == SENTENCE


def test_input_error_is_not_found_where_there_is_none() -> None:
    assert input_error(None) is None
    assert input_error(caught(fail)) is None
    assert input_error(ValueError("an InputError is one, but not each is an InputError")) is None


@pytest.mark.usefixtures("explained")
@pytest.mark.parametrize("function", REFUSALS)
def test_an_uncaught_input_error_shows_its_sentence_alone(
    function: Callable[[], None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(function, capsys) == f"error: {SENTENCE}\n"


@pytest.mark.usefixtures("explained")
def test_an_input_error_inside_a_config_shows_its_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert not isinstance(caught(refuse_from_a_config), InputError)  # wrapped, or there were nothing to find
    sentence = "--image is given without its reference; add --reference FILE."
    assert shown(refuse_from_a_config, capsys) == f"error: {sentence}\n"


@pytest.mark.usefixtures("explained")
def test_any_other_error_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(fail, capsys)
    assert text.startswith("Traceback (most recent call last)")
    assert "in fail" in text
    assert text.endswith("ZeroDivisionError: a defect\n")


@pytest.mark.usefixtures("explained")
def test_an_input_error_keeps_its_traceback_while_debugging(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        text = shown(refuse, capsys)
    assert text.startswith("Traceback (most recent call last)")
    assert text.endswith(f"InputError: {SENTENCE}\n")


def test_without_asking_nothing_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(refuse, capsys).startswith("Traceback (most recent call last)")


@pytest.mark.usefixtures("explained")
def test_an_interruption_shows_one_sentence_whatever_it_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    error = KeyboardInterrupt()
    error.__context__ = caught(refuse)
    sys.excepthook(KeyboardInterrupt, error, None)
    text = capsys.readouterr().err
    assert text.strip().startswith("interrupted: ")
    assert len(text.strip().splitlines()) == 1
    assert SENTENCE not in text


@pytest.mark.usefixtures("explained")
def test_a_defect_met_while_refusing_keeps_its_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(fail_while_refusing, capsys)
    assert text.rstrip().endswith("KeyError: 'a defect on the way out'")
    assert "Traceback" in text


def test_a_traceback_shows_what_a_name_holds() -> None:
    text = error_text(ZeroDivisionError("a\x1b[2Jb\nc"))
    assert r"ZeroDivisionError: a\x1b[2Jb" in text
    assert "\x1b" not in text


def test_messages_show_what_a_name_holds(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    logger = logging.getLogger("bundle")
    monkeypatch.setattr(logger, "handlers", [logging.StreamHandler(sys.stderr)])
    monkeypatch.setattr(logger, "propagate", False)
    escape_messages()
    escape_messages()
    logger.warning("%s: gone", "a\x1b[2J\nINFO b")
    logger.warning("%s:\n\n%s", "a\x1b", "| b |\n| c |")
    try:
        raise ZeroDivisionError("a\x1b")
    except ZeroDivisionError:
        logger.exception("it failed")
    shown = capsys.readouterr().err
    assert shown.startswith("a\\x1b[2J\\nINFO b: gone\na\\x1b:\n\n| b |\n| c |\nit failed\nTraceback")
    assert "\x1b" not in shown
