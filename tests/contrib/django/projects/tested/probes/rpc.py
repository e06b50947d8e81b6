"""Handlers that read, write, call each other, and misbehave."""

import gevent
from django.db import close_old_connections, connection, transaction

from amphora.contrib.django import client, clients, server, servers
from probes.models import Note


@server.add_function("notes.list")
def texts():
    """List the notes."""
    return [note.text for note in Note.objects.order_by("text")]


@server.add_function("notes.add")
def add(text):
    """Add a note."""
    Note.objects.create(text=text)


@server.add_function("notes.add_through")
def add_through(text):
    """Add a note, and let another handler add a second one."""
    with transaction.atomic():
        add(text)
        client.call.notes.add(f"{text} again")
    return texts()


@server.add_function("notes.add_through_greenlet")
def add_through_greenlet(text):
    """Add a note by a handler that a greenlet of this one calls."""
    gevent.spawn(client.call.notes.add, text).get()
    return texts()


@servers["atomic"].add_function("notes.add_by_two")
def add_by_two(text):
    """Add a note, and defer another handler of this service, which runs one request at a time."""
    add(text)
    clients["atomic"].defer(function_name="notes.add_and_fail")(f"{text} again")


@server.add_function("notes.add_slowly")
def add_slowly(text):
    """Add a note in a transaction during which others could run."""
    with transaction.atomic():
        for _ in range(3):
            gevent.sleep(0)
        add(text)
        for _ in range(3):
            gevent.sleep(0)


@server.add_function("notes.close")
def close():
    """Close the connection, as careful handlers do."""
    close_old_connections()
    connection.close()
    return texts()


@servers["atomic"].add_function("notes.add_and_fail")
def add_and_fail(text):
    """Add a note and fail, in the transaction that the settings ask for."""
    add(text)
    raise ValueError(text)


@server.add_function("notes.connection")
def connection_of_handler():
    """Tell which connection the handler has."""
    return id(connection.connection)
