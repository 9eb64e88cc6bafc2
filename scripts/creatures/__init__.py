"""The toys of the example clips: sculpted, painted and moved by a few lines each."""
