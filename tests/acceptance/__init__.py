"""Tests of whole programs in processes of their own, with things broken under them."""
