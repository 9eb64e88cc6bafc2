"""The differentiable rasteriser: visibility, interpolation, texture, antialiasing."""

from v2m4.render.antialias import antialias
from v2m4.render.fast import render_fast
from v2m4.render.images import Images, render
from v2m4.render.raster import Raster, interpolate, rasterize
from v2m4.render.texture import sample_texture
from v2m4.render.visibility import Backend

__all__ = [
    "Backend",
    "Images",
    "Raster",
    "antialias",
    "interpolate",
    "rasterize",
    "render",
    "render_fast",
    "sample_texture",
]
