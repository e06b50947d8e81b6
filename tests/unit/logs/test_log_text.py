"""Text of other programs in log records: it breaks no line, and a terminal obeys nothing in it."""

import io
import logging
from collections.abc import Iterator

import pytest

from amphora import IgnoreRequest, RemoteException, WrongRequest
from amphora.logs.log_text import printable_traceback
from amphora.logs.note_log import NoteLogger, flush_notes
from amphora.logs.remote_text import printable_lines

NAME = "amphora.tests.remote_text"

FORGED = "sold out\n2026-11-30 12:00:00 INFO all is well\x1b[2J\x9b31m\u202e"


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    stream, logger = io.StringIO(), logging.getLogger(NAME)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s [%(request_id)s]", defaults={"request_id": ""}))
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)
    logger.propagate = True


def written_by(written: io.StringIO) -> str:
    assert flush_notes(60)
    return written.getvalue()


@pytest.mark.parametrize("argument", [FORGED, RemoteException(FORGED, [FORGED]), WrongRequest(FORGED)])
@pytest.mark.parametrize("text", ["%s", "%r", "reply to %-10s"])
def test_an_argument_cannot_begin_a_line_of_its_own(argument: object, text: str, written: io.StringIO) -> None:
    NoteLogger(NAME).warning(text, argument, extra={"request_id": FORGED})

    (line,) = written_by(written).splitlines()
    assert line.isprintable()
    assert "sold out\\n2026" in line


def test_numbers_are_formatted_as_ever(written: io.StringIO) -> None:
    NoteLogger(NAME).warning("%d in %.1f s, %s, %r", 2, 0.25, None, True)

    assert written_by(written) == "WARNING 2 in 0.2 s, None, True []\n"


def test_a_remote_error_is_one_line_of_a_traceback_wherever_it_is_in_the_chain(written: io.StringIO) -> None:
    try:
        try:
            raise RemoteException("KeyError", [FORGED])
        except RemoteException as error:
            raise ExceptionGroup("two\nlines", [error, WrongRequest(FORGED)]) from error
    except ExceptionGroup:
        NoteLogger(NAME).exception("failed")

    shown = written_by(written)
    assert printable_lines(shown) == shown
    assert not [line for line in shown.splitlines() if line.strip(" |+-").startswith("2026")]
    assert shown.count("sold out\\n2026") == 3
    # What the program itself raises keeps its lines.
    assert "two\n" in shown


def test_a_traceback_without_remote_text_is_left_to_the_formatter() -> None:
    error = IgnoreRequest("later")

    assert printable_traceback((type(error), error, None)) is None
    assert printable_traceback(None) is None
