"""A sample project of the tests."""
