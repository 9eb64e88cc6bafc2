"""A learned generator of our own: what is seen, and what is likely behind it."""
