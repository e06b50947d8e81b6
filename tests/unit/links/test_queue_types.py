"""Which type a queue of a service gets, and in which order the forms of a queue are tried."""

from types import SimpleNamespace
from typing import Any

import pytest

from amphora.links.queue_types import AUTO, CLASSIC, QUORUM, Form, QueueTypes, release_of

OLD, NEW = (3, 10), (4, 0)


def form(queue_type: str, *, lacking: bool = False, **arguments: Any) -> Form:
    return Form(arguments, queue_type, lacking)


@pytest.mark.parametrize(
    ("properties", "release"),
    [
        ({"product": "RabbitMQ", "version": "4.3.1"}, (4, 3)),
        ({"product": "RabbitMQ", "version": "3.10.8"}, (3, 10)),
        ({"product": "RabbitMQ", "version": "4.1.0-rc.2"}, (4, 1)),
        ({"product": "LavinMQ", "version": "2.1.0"}, None),
        ({"product": "RabbitMQ", "version": "unknown"}, None),
        ({"product": "RabbitMQ"}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_release_is_read_from_what_the_broker_says_of_itself(properties: Any, release: Any) -> None:
    assert release_of(SimpleNamespace(server_properties=properties)) == release


def test_a_connection_that_says_nothing_has_no_release() -> None:
    assert release_of(object()) is None


@pytest.mark.parametrize(
    ("release", "queue_type"), [(None, CLASSIC), ((3, 13), CLASSIC), ((4, 0), QUORUM), ((4, 3), QUORUM)]
)
def test_a_new_queue_gets_the_type_that_suits_the_release(release: Any, queue_type: str) -> None:
    """From 4.0 on, a classic queue confirms messages that are not synced to disk."""
    assert QueueTypes(AUTO).preferred(release) == queue_type


@pytest.mark.parametrize("configured", [CLASSIC, QUORUM])
@pytest.mark.parametrize("release", [None, OLD, NEW])
def test_a_configured_type_is_that_of_every_queue(configured: str, release: Any) -> None:
    types = QueueTypes(configured)

    assert not types.automatic
    assert types.preferred(release) == types.current == configured


def test_a_service_whose_own_queue_is_classic_gets_classic_queues_on_a_new_release() -> None:
    types = QueueTypes(AUTO)

    types.note(CLASSIC, NEW)

    assert types.preferred(NEW) == types.current == CLASSIC


def test_a_usual_type_that_was_found_is_not_kept_for_a_broker_of_another_release() -> None:
    """The node may be upgraded between two connections."""
    types = QueueTypes(AUTO)

    types.note(CLASSIC, OLD)

    assert types.preferred(NEW) == QUORUM
    assert types.current == CLASSIC


def test_the_last_type_that_was_found_counts() -> None:
    told: list[str] = []
    types = QueueTypes(AUTO, on_found=told.append)

    types.note(CLASSIC, NEW)
    types.note(QUORUM, NEW)

    assert types.preferred(NEW) == types.current == QUORUM
    assert told == [CLASSIC, QUORUM]


def test_before_a_queue_was_found_its_type_is_taken_for_classic() -> None:
    assert QueueTypes(AUTO).current == CLASSIC


def test_the_preferred_type_is_tried_first_and_forms_of_earlier_releases_last() -> None:
    classic, quorum = form(CLASSIC), form(QUORUM)
    old_classic, old_quorum = form(CLASSIC, lacking=True), form(QUORUM, lacking=True)
    forms = [old_classic, classic, old_quorum, quorum]

    assert QueueTypes(AUTO).in_order(forms, NEW) == [quorum, classic, old_quorum, old_classic]
    assert QueueTypes(AUTO).in_order(forms, OLD) == [classic, quorum, old_classic, old_quorum]


def test_a_rare_form_of_the_preferred_type_is_tried_after_the_usual_form_of_the_other() -> None:
    usual, rare, other = form(QUORUM), form(QUORUM, limit=5), form(CLASSIC)

    assert QueueTypes(AUTO).in_order([usual, rare, other], NEW) == [usual, other, rare]


@pytest.mark.parametrize(("configured", "first"), [(AUTO, CLASSIC), (QUORUM, QUORUM), (CLASSIC, CLASSIC)])
def test_a_temporary_queue_is_classic_unless_a_type_is_configured(configured: str, first: str) -> None:
    ordered = QueueTypes(configured).in_order([form(QUORUM), form(CLASSIC)], NEW, temporary=True)

    assert ordered[0].queue_type == first
