"""The functions of the core, which web processes call; they in turn call the screens."""

from django.utils import timezone

from amphora import Unroutable
from amphora.contrib.django import clients, server
from core.models import Message, Screen

#: Seconds after which a screen whose browser does not poll any more is gone, with what waits for it.
SCREEN_EXPIRES = 60
#: How many old messages a new screen shows.
HISTORY = 50

screens = clients["screens"]


@screens.tune_function("show_message")
def to_its_screen(args, kwargs):
    """Route a message to the queue of the screen, its first argument."""
    return args[0]


@server.add_function
def say(key, sender, text, recipient=""):
    """Keep a message, and send it to the screens of all who may read it.

    A request runs again if its server died before it was finished: the key makes that one message.
    """
    fields = {"sender": sender, "text": text, "recipient": recipient}
    message, _ = Message.objects.get_or_create(key=key, defaults=fields)
    # Not within a transaction: SQLite lets one greenlet write, and the others would wait for it while it waits here.
    for screen in Screen.objects.of_readers_of(message):
        _show(screen, message)
    return message.id


@server.add_function
def catch_up(label, name, after):
    """Give a screen what it has not shown yet, and note that it is there.

    Args:
        label: The screen.
        name: Its user.
        after: Id of the last message that it has shown.

    Returns:
        A dict: `messages`, the oldest first, and `present`, the names of all users.
    """
    # The screen is known before the messages are looked up: none can fall in between.
    screens.create_new_request_queue(label, x_expires=SCREEN_EXPIRES * 1000)
    Screen.objects.update_or_create(label=label, defaults={"name": name, "asked_at": timezone.now()})
    for screen in Screen.objects.abandoned(SCREEN_EXPIRES):
        _forget(screen)
    missed = Message.objects.visible_to(name).filter(id__gt=after)
    latest = list(missed.reverse()[:HISTORY])[::-1] if after == 0 else missed
    present = Screen.objects.values_list("name", flat=True).distinct().order_by("name")
    return {"messages": [message.as_dict() for message in latest], "present": list(present)}


@server.add_function
def close(label):
    """Forget a screen: its page was closed."""
    for screen in Screen.objects.filter(label=label):
        _forget(screen)


def _show(screen, message):
    """Send a message to the web process that holds the screen's poll, now or later."""
    earlier = Message.objects.visible_to(screen.name).filter(id__lt=message.id).last()
    try:
        # Returns when the broker has stored it; it does not wait for a poll.
        screens.defer.show_message(screen.label, message.as_dict(), previous=earlier.id if earlier else 0)
    except Unroutable:
        # The screen has not polled for a while, and the broker has deleted the queue.
        _forget(screen)


def _forget(screen):
    screens.remove_request_queue(screen.label, nowait=True)
    screen.delete()
