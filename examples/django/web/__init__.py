"""The web processes: show pages, and hold the browsers' long polls. They have no database."""
