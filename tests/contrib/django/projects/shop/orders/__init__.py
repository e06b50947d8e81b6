"""An app with handlers and views."""
