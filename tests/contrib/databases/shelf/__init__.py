"""A program with Django, and without the Django app of Amphora."""
