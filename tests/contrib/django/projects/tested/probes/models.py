"""Something to write to the database."""

from django.db import models


class Note(models.Model):
    """A line of text."""

    text = models.CharField(max_length=100, unique=True)
