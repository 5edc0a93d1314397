"""Texts of any size and script as streams of ids, and back as something safe to show.

Knows nothing about models: this package imports neither torch nor the rest of unrolled, except its errors.
"""
