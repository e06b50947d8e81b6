"""Tests that execute every code block of the documentation: each page's test takes all its blocks."""
