"""An app of the project, with remote functions and tasks."""
