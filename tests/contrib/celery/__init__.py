"""Tests of the Celery integration."""
