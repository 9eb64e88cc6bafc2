"""Meshes, cameras and the small pure functions on them."""
