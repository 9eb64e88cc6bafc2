"""The stages of the method in order. Each file adapts one stage to the run's folder: reads its inputs there, calls the
stage, writes the artefacts, and declares what that depends on. A new stage is one file and one entry here."""

from __future__ import annotations

from v2m4.stage_spec import StageSpec
from v2m4.steps import (
    camera,
    export,
    generation,
    keyframes,
    matting,
    mending,
    motion,
    refinement,
    registration,
    texture,
    video,
)

STAGES: tuple[StageSpec, ...] = (
    video.SPEC,
    matting.SPEC,
    keyframes.SPEC,
    generation.SPEC,
    camera.SPEC,
    refinement.SPEC,
    motion.SPEC,
    registration.SPEC,
    mending.SPEC,
    texture.SPEC,
    export.SPEC,
)
