"""Messages, and the screens that they are shown on."""

from datetime import timedelta

from django.db import models
from django.db.models import Q
from django.utils import timezone


class MessageQuerySet(models.QuerySet):
    """Messages by who may read them."""

    def visible_to(self, name):
        """Those to everyone, and those that this user has sent or is meant by; the oldest first."""
        return self.filter(Q(recipient="") | Q(recipient=name) | Q(sender=name)).order_by("id")


class Message(models.Model):
    """What a user said, to everyone or to one other user."""

    # Made by the browser: it tells a repetition from a second message.
    key = models.UUIDField(unique=True)
    sender = models.CharField(max_length=20)
    recipient = models.CharField(max_length=20, blank=True)
    text = models.CharField(max_length=1000)
    written = models.DateTimeField(auto_now_add=True)

    objects = MessageQuerySet.as_manager()

    def as_dict(self):
        """Give what a browser shows."""
        return {
            "id": self.id,
            "key": self.key,
            "sender": self.sender,
            "recipient": self.recipient,
            "text": self.text,
            "written": self.written,
        }


class ScreenQuerySet(models.QuerySet):
    """Screens by who looks at them."""

    def of_readers_of(self, message):
        """Those of everyone who may read the message."""
        if not message.recipient:
            return self.all()
        return self.filter(name__in=(message.sender, message.recipient))

    def abandoned(self, expires):
        """Those that have not been asked for anything for so many seconds."""
        return self.filter(asked_at__lt=timezone.now() - timedelta(seconds=expires))


class Screen(models.Model):
    """A page that is open in some browser. Its label names the request queue that its messages wait in."""

    label = models.CharField(max_length=60, primary_key=True)
    name = models.CharField(max_length=20)
    asked_at = models.DateTimeField()

    objects = ScreenQuerySet.as_manager()
