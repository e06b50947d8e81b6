"""A project with tasks of Django 6."""
