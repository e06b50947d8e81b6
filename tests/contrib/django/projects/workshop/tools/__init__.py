"""An app whose handlers take and give what looks like HTML."""
