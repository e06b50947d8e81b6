"""Tests of the links' parts that need no broker."""
