"""Errors of functions that are kept for the admin in PostgreSQL, whose driver waits with gevent."""

import pytest
from django.core.management import call_command
from django.db import connections

from amphora import CurrentRequest
from amphora.contrib.django.models import FailedCall
from amphora.contrib.django.recording import ErrorRecorder
from tests.contrib.django.serving.conftest import ALIAS


@pytest.fixture
def recorder(use_postgres, monkeypatch):
    use_postgres()
    call_command("migrate", "amphora", database=ALIAS, verbosity=0)
    monkeypatch.setattr("amphora.contrib.django.recording.router.db_for_write", lambda _: ALIAS)
    return ErrorRecorder("default", "shop", "uuid-1", keep=3)


def fail(recorder, text):
    def call():
        raise ValueError(text)

    with pytest.raises(ValueError, match="!"):
        recorder(CurrentRequest("request-1", None, "f", None, False, {}), call)


@pytest.mark.expects_errors("OperationalError")
def test_the_last_ones_are_kept_and_a_restart_loses_those_of_the_meantime(recorder, postgres, caplog):
    for number in range(7):
        fail(recorder, f"{number}! a\0b\ud800")
    assert recorder.flush(60)
    assert kept() == [f"{number}! a\N{REPLACEMENT CHARACTER}b?" for number in (4, 5, 6)]

    connections[ALIAS].close()
    postgres.stop()
    try:
        fail(recorder, "lost!")
        assert recorder.flush(60)
    finally:
        postgres.start()
    fail(recorder, "after it!")
    assert recorder.flush(60)

    assert kept()[-1] == "after it!"
    assert (recorder.recorded, recorder.dropped) == (8, 1)
    assert caplog.text.count("shop: an error of a function could not be kept") == 1


def kept():
    return list(FailedCall.objects.using(ALIAS).order_by("id").values_list("message", flat=True))
