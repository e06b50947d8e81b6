"""Tests of the Django integration, with the sample projects in `projects/`."""
