"""Tests of the chaos run's account."""
