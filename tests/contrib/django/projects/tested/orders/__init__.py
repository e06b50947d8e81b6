"""The example of docs/django-testing.md; the test puts its modules here."""
