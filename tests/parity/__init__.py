"""Parity with the original models: recorded inputs and outputs of the originals against this project's code.

`python -m tests.parity DIR...` runs every fixture of the given folders.
"""
