"""Silhouette inflation: a closed, textured mesh from one picture, without weights."""
