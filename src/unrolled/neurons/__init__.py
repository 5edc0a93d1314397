"""What the neurons of a model do: the features of a text, and which unit follows which of them.

Knows nothing about training.
"""
