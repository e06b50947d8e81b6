"""An app with remote functions."""
