"""Log records that cost their writers nothing, and show text of other programs safely."""
