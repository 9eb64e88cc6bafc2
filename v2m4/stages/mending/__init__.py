"""Torn places of the moving mesh, mended; not in the paper."""
