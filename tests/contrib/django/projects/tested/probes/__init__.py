"""An app that asks the testing helpers hard questions."""
