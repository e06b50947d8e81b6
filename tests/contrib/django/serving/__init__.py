"""Tests of serving: the command, and database connections around requests."""
