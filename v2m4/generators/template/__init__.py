"""A mesh of the user's own as the object."""
