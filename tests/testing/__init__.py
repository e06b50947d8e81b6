"""Tests of what is there for users' tests."""
