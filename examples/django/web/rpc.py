"""The screens: what the core calls to show a message in a browser whose long poll this process holds."""

from collections import defaultdict, deque
from contextlib import suppress

import gevent

from amphora.contrib.django import servers

screens = servers["screens"]
_inboxes = defaultdict(deque)


@screens.add_function
def show_message(label, message, previous):
    """Hand a message to the poll that waits for it.

    Args:
        label: The screen.
        message: A dict, as the browser gets it.
        previous: Id of the message before it that this user may read.
    """
    _inboxes[label].append((message, previous))


def wait_for_messages(label, timeout):
    """Take the next message from the queue of a screen; it waits there until the screen polls.

    Args:
        label: The screen.
        timeout: Maximum seconds to wait.

    Returns:
        Pairs of a message and the id of the one before it; an empty list when the time is over.
    """
    # In the first poll this connects to the broker, after gunicorn's fork; later on it does nothing.
    screens.serve()
    # A browser that polls again has given up its poll before.
    screens.stop_receiving(label)
    # What it takes at the last moment is in the inbox all the same.
    with suppress(gevent.Timeout):
        screens.receive_from_queue(label, max_calls=1, timeout=timeout)
    return list(_inboxes.pop(label, ()))
