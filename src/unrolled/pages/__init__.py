"""Self-contained pages: the engine that runs a model in a browser (engine.js, kernel.wat) and its weights.

Knows nothing about training or about finding units.
"""
