"""The differentiable rasteriser: visibility, interpolation, texture, antialiasing."""
