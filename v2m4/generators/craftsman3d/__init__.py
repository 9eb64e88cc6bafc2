"""CraftsMan3D on Dora's vector sets: one picture to a shape (arXiv 2405.14979, arXiv 2412.17808)."""
