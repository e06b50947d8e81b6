"""The version of the package, a plain literal that build tools can read without importing."""

__version__ = "1.0.0a1"
