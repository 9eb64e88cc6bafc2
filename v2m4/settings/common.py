"""The settings that people change most: they stand first in the command line's help and on the page."""

from __future__ import annotations

COMMON = (
    "preset",
    "seed",
    "device",
    "commercial_use",
    "video.start_s",
    "video.end_s",
    "video.frame_step",
    "video.longest_side",
    "matting.method",
    "matting.min_area",
    "keyframes.stride",
    "generator.name",
    "generator.template",
    "generator.sculpt.form",
    "stereo",
    "camera.method",
    "refinement.enabled",
    "registration.method",
    "registration.video.rounds",
    "texture.method",
    "texture.size",
    "export.material",
    "export.quantise",
    "export.texture_format",
    "export.per_frame",
)
