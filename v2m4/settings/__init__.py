"""Every number of the method: frozen dataclasses, nested as the method is; a file per section.

The classes' defaults are the preset ``fast``. ``paper`` follows the paper's text and appendix, but where fewer
iterations were measured to reach as much (docs/benchmarks.md); ``draft`` is for a first look; both are differences. The
command line, the page's "Advanced" panel and the settings JSON are all generated from these classes.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal, get_args

from v2m4.errors import V2M4Error
from v2m4.settings.background import BackgroundSettings, CameraMotionSettings, ColorModelSettings, PriorSettings
from v2m4.settings.camera import (
    Algorithm1Settings,
    AlignmentLevelSettings,
    CameraSettings,
    DescentSettings,
    Dust3rSettings,
    FeatureSettings,
    LowPolySettings,
    OcclusionGuessSettings,
    OcclusionSettings,
    RigidAlignmentSettings,
    RigidSearchSettings,
    ScoreSettings,
    StereoStepSettings,
    StructureSettings,
    SwarmSettings,
)
from v2m4.settings.common import COMMON
from v2m4.settings.export import ExportSettings, VerdictSettings
from v2m4.settings.generator import (
    BackSettings,
    CraftsMan3DSettings,
    GeneratorSettings,
    HttpSettings,
    Hunyuan3DSettings,
    InflateSettings,
    LeanSettings,
    MeshingSettings,
    OutlineSettings,
    SculptSettings,
    SliverSettings,
    SolidColorSettings,
    SolidSettings,
    TemplateSettings,
    TrellisSettings,
    TripoSgSettings,
    TripoSRSettings,
)
from v2m4.settings.geometry import CalmingSettings, CleanupSettings, ManyCollapsesSettings, MirrorSearchSettings
from v2m4.settings.matting import (
    ClickSettings,
    EvidenceSettings,
    FlatSettings,
    GraphCutSettings,
    MaskCleanupSettings,
    MattingSettings,
    MotionSettings,
    SoftEdgeSettings,
    WarningSettings,
)
from v2m4.settings.mending import MendingSettings
from v2m4.settings.parts import (
    ChunkSettings,
    ExchangeSettings,
    GaitSettings,
    GuessedShapeSettings,
    LooksSettings,
    PairedLimbSettings,
    PartsSettings,
    RigFitSettings,
    SecondThoughtsSettings,
)
from v2m4.settings.pixels import AnchorSettings, KeyframeSettings, SqueezeSettings, VideoSettings
from v2m4.settings.refinement import RefinementSettings
from v2m4.settings.registration import (
    CorrespondenceSettings,
    DeformationGraphSettings,
    FollowVideoSettings,
    GlobalAlignmentSettings,
    LargeStepsSettings,
    LimbSettings,
    MeshToMeshSettings,
    RegistrationSettings,
    RigidMotionSettings,
    SurfaceFitSettings,
    SymmetrySettings,
    TrackSettings,
    VideoTrackSettings,
)
from v2m4.settings.renamed import RENAMED
from v2m4.settings.schema import Field, PlugName, Range, changed, fields_of, problems, updated
from v2m4.settings.texture import (
    FillSettings,
    MirrorFillSettings,
    OptimiseSettings,
    OwnAtlasSettings,
    ProjectSettings,
    TextureSettings,
)

__all__ = [
    "COMMON",
    "RENAMED",
    "Algorithm1Settings",
    "AlignmentLevelSettings",
    "AnchorSettings",
    "BackSettings",
    "BackgroundSettings",
    "CalmingSettings",
    "CameraMotionSettings",
    "CameraSettings",
    "ChunkSettings",
    "CleanupSettings",
    "ClickSettings",
    "ColorModelSettings",
    "CorrespondenceSettings",
    "CraftsMan3DSettings",
    "DeformationGraphSettings",
    "DescentSettings",
    "Dust3rSettings",
    "EvidenceSettings",
    "ExchangeSettings",
    "ExportSettings",
    "FeatureSettings",
    "Field",
    "FillSettings",
    "FlatSettings",
    "FollowVideoSettings",
    "GaitSettings",
    "GeneratorSettings",
    "GlobalAlignmentSettings",
    "GraphCutSettings",
    "GuessedShapeSettings",
    "HttpSettings",
    "Hunyuan3DSettings",
    "InflateSettings",
    "KeyframeSettings",
    "LargeStepsSettings",
    "LeanSettings",
    "LimbSettings",
    "LooksSettings",
    "LowPolySettings",
    "ManyCollapsesSettings",
    "MaskCleanupSettings",
    "MattingSettings",
    "MendingSettings",
    "MeshToMeshSettings",
    "MeshingSettings",
    "MirrorFillSettings",
    "MirrorSearchSettings",
    "MotionSettings",
    "OcclusionGuessSettings",
    "OcclusionSettings",
    "OptimiseSettings",
    "OutlineSettings",
    "OwnAtlasSettings",
    "PairedLimbSettings",
    "PartsSettings",
    "PlugName",
    "Preset",
    "PriorSettings",
    "ProjectSettings",
    "Range",
    "RefinementSettings",
    "RegistrationSettings",
    "RigFitSettings",
    "RigidAlignmentSettings",
    "RigidMotionSettings",
    "RigidSearchSettings",
    "ScoreSettings",
    "SculptSettings",
    "SecondThoughtsSettings",
    "Settings",
    "SliverSettings",
    "SoftEdgeSettings",
    "SolidColorSettings",
    "SolidSettings",
    "SqueezeSettings",
    "StereoStepSettings",
    "StructureSettings",
    "SurfaceFitSettings",
    "SwarmSettings",
    "SymmetrySettings",
    "TemplateSettings",
    "TextureSettings",
    "TrackSettings",
    "TrellisSettings",
    "TripoSRSettings",
    "TripoSgSettings",
    "VerdictSettings",
    "VideoSettings",
    "VideoTrackSettings",
    "WarningSettings",
    "changed",
    "fields_of",
]
Preset = Literal["paper", "fast", "draft"]


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on, besides the video itself."""

    preset: Preset = "fast"
    """The preset that these settings started from: paper, fast or draft."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 42
    """The same seed and settings give the same result on the same machine."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the numbers are crunched: cpu, cuda, or auto."""
    stereo: Annotated[str, PlugName("stereo")] = "auto"
    """dust3r, vggt, features, or auto: the best that can run here."""
    tracks: Annotated[str, PlugName("tracks")] = "auto"
    """cotracker3, cotracker3-online, or auto: the best that can run here; only where points are tracked."""
    perceptual: Annotated[str, PlugName("perceptual")] = "auto"
    """dreamsim, structure, or auto: the best that can run here."""
    commercial_use: bool = False
    """Refuse every model whose licence forbids commercial use."""
    low_vram: bool = False
    """Keep models on the GPU only while they work."""
    video: VideoSettings = field(default_factory=VideoSettings)
    matting: MattingSettings = field(default_factory=MattingSettings)
    keyframes: KeyframeSettings = field(default_factory=KeyframeSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    camera: CameraSettings = field(default_factory=CameraSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    mending: MendingSettings = field(default_factory=MendingSettings)
    texture: TextureSettings = field(default_factory=TextureSettings)
    export: ExportSettings = field(default_factory=ExportSettings)

    @staticmethod
    def of(preset: Preset = "fast", **changes: Any) -> Settings:
        """The settings of a preset; ``changes`` replaces top-level fields."""
        if preset not in get_args(Preset):
            raise V2M4Error(f"There is no preset “{preset}”. Choose one of: {', '.join(get_args(Preset))}.")
        return replace(_PRESETS[preset], **changes)

    def checked(self) -> Settings:
        """These settings. Raises one V2M4Error that names every setting outside its range, and those that contradict
        each other."""
        wrong = self.problems()
        if wrong:
            raise V2M4Error(" ".join(wrong))
        return self

    def problems(self) -> list[str]:
        """A sentence for every setting outside its range, and for those that contradict each other."""
        return [*problems(self), *_contradictions(self)]

    def to_json(self) -> str:
        """A JSON text that `from_json` turns back into equal settings."""
        return json.dumps(dataclasses.asdict(self), indent=2, default=str)

    @staticmethod
    def from_json(text: str) -> Settings:
        """Settings from `to_json`'s text; fields that are absent take the preset's value."""
        try:
            data = json.loads(text)
        except json.JSONDecodeError as error:
            raise V2M4Error(f"The settings file is not valid JSON (line {error.lineno}: {error.msg}).") from error
        except (ValueError, RecursionError) as error:
            what = (
                "is nested too deeply" if isinstance(error, RecursionError) else "holds a number of far too many digits"
            )
            raise V2M4Error(f"The settings file {what}. Give a settings.json of an earlier run.") from error
        if not isinstance(data, dict):
            raise V2M4Error("The settings file must hold one JSON object, as settings.json in a run's folder does.")
        return updated(Settings.of(data.get("preset", "fast")), data, RENAMED)


def _contradictions(settings: Settings) -> list[str]:
    """Sentences about settings that are fine alone but not together; wrong types are left to `problems`."""
    video, keyframes, drawn = settings.video, settings.keyframes, settings.camera.algorithm1
    wrong = []
    if isinstance(video.end_s, (int, float)) and video.end_s <= video.start_s:
        wrong.append(f"video.end_s ({video.end_s:g}) must come after video.start_s ({video.start_s:g}).")
    if keyframes.min_stride > keyframes.stride:
        wrong.append(
            f"keyframes.min_stride ({keyframes.min_stride}) must be at most keyframes.stride ({keyframes.stride})."
        )
    if drawn.radius_min > drawn.radius_max:
        wrong.append("camera.algorithm1.radius_min must not be more than camera.algorithm1.radius_max.")
    project = settings.texture.project
    if project.grazing_cosine >= project.facing_cosine:
        wrong.append("texture.project.grazing_cosine must be less than texture.project.facing_cosine.")
    if project.edge_near_px >= project.edge_far_px:
        wrong.append("texture.project.edge_near_px must be less than texture.project.edge_far_px.")
    symmetry = settings.registration.video.symmetry
    for low, high in (("side_on_from", "side_on_full"), ("error_full", "error_most"), ("rivalry_from", "rivalry_full")):
        if getattr(symmetry, low) >= getattr(symmetry, high):
            wrong.append(f"registration.video.symmetry.{low} must be less than registration.video.symmetry.{high}.")
    return wrong


_FAST = Settings()
_PAPER = Settings(
    preset="paper",
    video=VideoSettings(longest_side=1024),
    keyframes=KeyframeSettings(mode="fixed", stride=5),
    generator=GeneratorSettings(
        trellis=TrellisSettings(steps=25, remember=False),
        triposg=TripoSgSettings(guidance=7.5),
        hunyuan3d=Hunyuan3DSettings(coarsest=384),
    ),
    camera=CameraSettings(
        method="algorithm1",
        warm_start=False,
        algorithm1=Algorithm1Settings(swarm=SwarmSettings(memory=False), descent=DescentSettings(size=518)),
        stereo=StereoStepSettings(fit="chamfer", points=50000, size=518, dust3r_precision="tf32"),
    ),
    refinement=RefinementSettings(
        start_t=0.6,
        iterations=3,
        alternate=False,
        keep_better=False,
        image_size=518,
        supersampling=4,
    ),
    registration=RegistrationSettings(
        method="meshes",
        meshes=MeshToMeshSettings(
            view_size=512,
            view_pool=1000,
            view_detail=0.25,
            surface_samples=0,
            normal_match=0.0,
            early_stop=0.01,
            alignment=GlobalAlignmentSettings(iterations=500, views=20, restart_above=0.0, restart_after=200),
            limbs=LimbSettings(rounds=0),
            large_steps=LargeStepsSettings(
                iterations=1000, views=50, step=0.1, step_end=0.02, image_weight=1.0, chamfer_weight=1.0
            ),
        ),
    ),
    texture=TextureSettings(method="optimise"),
)
_DRAFT = Settings(
    preset="draft",
    video=VideoSettings(longest_side=256),
    keyframes=KeyframeSettings(motion_threshold=0.4, min_stride=4, stride=8),
    generator=GeneratorSettings(
        max_faces=4000,
        own_mesh=TemplateSettings(atlas_size=512),
        inflate=InflateSettings(faces=2500),
        sculpt=SculptSettings(faces=3000),
    ),
    camera=CameraSettings(
        score=ScoreSettings(size=112), algorithm1=Algorithm1Settings(descent=DescentSettings(iterations=60, size=128))
    ),
    refinement=RefinementSettings(enabled=False),
    registration=RegistrationSettings(
        meshes=MeshToMeshSettings(
            alignment=GlobalAlignmentSettings(iterations=40), large_steps=LargeStepsSettings(iterations=30)
        ),
        video=FollowVideoSettings(
            rounds=2,
            fit=SurfaceFitSettings(rounds=1),
            parts=PartsSettings(
                meshes="given",
                rounds=4,
                side=32,
                coarse_steps=2,
                steps=4,
                repairs=0,
                kicks=0,
                anew=0.0,
                frees=0,
                calmings=1,
                preferred=0.75,
                chunks=ChunkSettings(chunks=24),
                rig=RigFitSettings(rounds=0),
                second_thoughts=SecondThoughtsSettings(every=0),
            ),
        ),
    ),
    texture=TextureSettings(size=512),
    export=ExportSettings(preview_size=256),
)
_PRESETS: dict[str, Settings] = {"paper": _PAPER, "fast": _FAST, "draft": _DRAFT}
