"""Machines as values, as circuits and as weights: what a recurrent network can be programmed to do.

Knows nothing about texts, runs or training at this level; each module says what it stands on.
"""
