"""An app with handlers of another alias."""
