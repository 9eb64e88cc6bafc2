"""TripoSR in plain PyTorch: one picture to a coloured mesh in one pass, on a machine without a GPU.

`picture` cuts the object out; `network` makes a triplane of it; `surface` finds the mesh in that; `predictor` is the
generator.
"""
