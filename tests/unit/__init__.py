"""Tests of single modules, without a broker; they have the paths of the modules."""
