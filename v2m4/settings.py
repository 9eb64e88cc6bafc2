"""Every number of the method, a frozen dataclass per stage.

``paper`` follows the paper's text and appendix to the letter, ``fast`` is the default, ``draft`` is for a first look.
The command line, the page's "Advanced" panel and the settings JSON are all generated from these classes.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from v2m4.errors import V2M4Error

Preset = Literal["paper", "fast", "draft"]


@dataclass(frozen=True)
class VideoSettings:
    """Which frames are read, and how large."""

    start_s: float = 0.0
    """Where to start, in seconds of the clip."""
    end_s: float | None = None
    """Where to end, in seconds; the clip's end if absent."""
    frame_step: int = 1
    """Read every n-th frame only."""
    longest_side: int = 512
    """Frames are shrunk so that their longer side is at most this many pixels."""
    max_frames: int = 600
    """Longer clips are refused, with the advice to trim or raise this."""
    max_source_side: int = 4320
    """Videos with a longer side than this, in pixels, are refused, with the advice to shrink them."""
    pictures_fps: float = 24.0
    """Frames per second of a folder or zip of pictures, which have no timestamps."""


@dataclass(frozen=True)
class MattingSettings:
    """How the moving object is cut out of the frames."""

    method: str = "auto"
    """alpha, flat, motion, rembg, or auto: the file's own alpha if it has one, else what the background suggests."""
    soft_edge_px: float = 1.0
    """Width of the soft edge of the mask, in pixels of the processed frame."""
    min_area: float = 0.001
    """A frame whose foreground covers less than this share of the picture counts as empty."""


@dataclass(frozen=True)
class KeyframeSettings:
    """Which frames get a mesh of their own."""

    mode: Literal["fixed", "adaptive"] = "adaptive"
    """fixed: every stride-th frame and the last; adaptive: closer together where the motion is faster."""
    stride: int = 5
    """Frames between keyframes; with adaptive, the most there may be."""
    min_stride: int = 1
    """Frames between keyframes; with adaptive, the fewest there may be."""
    motion_threshold: float = 0.08
    """adaptive: a new keyframe once the pose changed by this much (1 - overlap of the masks) since the last one."""


@dataclass(frozen=True)
class TripoSgSettings:
    """TripoSG."""

    steps: int = 50
    """Sampling steps of the flow."""
    guidance: float = 7.0
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); 1 or less is none."""
    resolution: int = 512
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: int = 63
    """The grid is halved until it would have fewer cells per side than this; finer ones look near the surface only."""


@dataclass(frozen=True)
class Hunyuan3DSettings:
    """Hunyuan3D-2.0's shape half."""

    variant: Literal["base", "fast", "turbo"] = "base"
    """base: the paper's; fast: distilled to half the time; turbo: distilled to 5 to 10 steps (set steps)."""
    steps: int = 50
    """Sampling steps of the flow."""
    guidance: float = 5.0
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); below 0 is none."""
    resolution: int = 384
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: int = 63
    """The grid is halved until it would have fewer cells per side than this; at resolution or above, all is looked at,
    as in the paper."""


@dataclass(frozen=True)
class CraftsMan3DSettings:
    """CraftsMan3D with Dora's vector sets."""

    steps: int = 50
    """Sampling steps of the flow."""
    guidance: float = 7.5
    """Guidance strength g of v(nothing) + g (v(image) - v(nothing)); 0 or less is none."""
    resolution: int = 256
    """Cells per side of the finest grid on which the surface is found."""
    coarsest: int = 63
    """The grid is halved until it would have fewer cells per side than this; finer ones look near the surface only."""


@dataclass(frozen=True)
class GeneratorSettings:
    """The image-to-mesh model."""

    name: str = "auto"
    """inflate, template, trellis, triposg, hunyuan3d, craftsman3d, or auto: the best that can run here."""
    template: Path | None = None
    """Your own mesh (GLB, OBJ, PLY) as the object's shape: the video animates it. Implies the template generator."""
    max_faces: int = 10000
    """Meshes with more faces are simplified to this many."""
    inflate_faces: int = 6000
    """Faces of an inflated silhouette."""
    thickness: float = 1.0
    """inflate: 1 gives limbs as deep as wide; less is flatter, more is rounder."""
    trellis_steps: int = 25
    """TRELLIS: sampling steps of each of the two flows."""
    trellis_guidance: float = 5.0
    """TRELLIS: guidance strength w of (1 + w) v(image) - w v(nothing)."""
    triposg: TripoSgSettings = field(default_factory=TripoSgSettings)
    hunyuan3d: Hunyuan3DSettings = field(default_factory=Hunyuan3DSettings)
    craftsman3d: CraftsMan3DSettings = field(default_factory=CraftsMan3DSettings)


@dataclass(frozen=True)
class CameraSearchSettings:
    """Section 4.1 and algorithm 1: which camera shows the mesh as the frame does."""

    method: Literal["algorithm1", "rigid"] = "rigid"
    """algorithm1: the paper's search over six numbers; rigid: viewing direction, the rest follows from the mask."""
    directions: int = 600
    """rigid: viewing directions that are tried, spread evenly over the sphere."""
    candidates: int = 32
    """rigid: best directions that are aligned to the frame."""
    roll_limit_deg: float = 30.0
    """rigid: how far the camera may be tilted sideways; 180 allows any. algorithm1 knows upright cameras only."""
    stereo_below: float = 0.9
    """rigid: the stereo step is taken only where the mask overlap without it stays below this."""
    warm_start: bool = True
    """Search near the previous keyframe's camera first, and everywhere only if that scores badly."""
    samples: int = 2000
    """Random cameras that are scored first."""
    radius_min: float = 1.0
    radius_max: float = 5.0
    lookat_range: float = 1.0
    """Look-at coordinates are drawn from [-range, range]."""
    top_views: int = 7
    """Best views that go to the stereo model beside the reference."""
    score_size: int = 224
    """Side of the renderings that are scored, in pixels."""
    image_weight: float = 1.0
    """Weight of the image distance (DreamSim or structure) in the score."""
    mask_weight: float = 0.1
    """Weight of the mask difference in the score."""
    use_stereo: bool = True
    stereo_fit: Literal["chamfer", "matched"] = "matched"
    """chamfer: similarity by gradient descent, as the paper does; matched: closed form with RANSAC, then PnP."""
    stereo_keep: float = 0.05
    """Share of the points kept for the chamfer fit."""
    stereo_points: int = 4000
    """At most so many points are kept for either fit."""
    stereo_size: int = 512
    """Side of the pictures that go to the stereo model, in pixels."""
    stereo_iterations: int = 2000
    stereo_pose_iterations: int = 500
    use_swarm: bool = True
    swarm_size: int = 200
    swarm_iterations: int = 25
    swarm_inertia: float = 0.5
    swarm_memory: bool = True
    """True: the textbook swarm, which keeps its velocities; False: drawn anew each iteration, as the release does."""
    use_descent: bool = True
    descent_iterations: int = 300
    descent_lr: float = 0.01
    descent_size: int = 256
    """Side of the renderings during descent, in pixels."""
    global_threshold: float = 0.9
    """A warm-started camera whose mask overlap is below this is searched for globally again."""


@dataclass(frozen=True)
class RefinementSettings:
    """Section 4.2: the look of each mesh, through the generator's negative embedding (TRELLIS only)."""

    enabled: bool = True
    method: Literal["paper", "fast"] = "fast"
    start_t: float = 0.6
    iterations: int = 5
    """paper: iterations of the optimiser per sampling step at first."""
    iterations_grow_every: int = 5
    """paper: one iteration more after this many sampling steps; 0 for never."""
    lr: float = 0.1
    """paper: step of the optimiser."""
    fast_iterations: int = 2
    """fast: iterations per sampling step, mesh and Gaussians in turn."""
    fast_lr: float = 0.05
    """fast: step of the optimiser."""
    fast_image_size: int = 392
    """fast: side of the renderings, in pixels."""
    dreamsim_weight: float = 1.0
    lpips_weight: float = 1.0
    mse_weight: float = 1.0
    anchor_weight: float = 0.2
    """Pull of the embedding towards its start."""
    image_size: int = 518
    supersampling: int = 4


@dataclass(frozen=True)
class RegistrationSettings:
    """Section 4.3: one topology for all keyframes."""

    method: Literal["meshes", "video"] = "video"
    """meshes: the paper's chain, mesh to mesh; video: the reference mesh follows the frames themselves."""
    global_iterations: int = 500
    global_views: int = 20
    global_lr: float = 0.01
    global_chamfer_weight: float = 1.0
    global_image_weight: float = 1.0
    local_iterations: int = 1000
    local_views: int = 50
    local_step: float = 0.1
    smoothness: float = 99.0
    """lambda of the large-steps parametrisation."""
    view_size: int = 512
    view_pool: int = 1000
    view_radius: float = 2.0
    image_weight: float = 1.0
    chamfer_weight: float = 1.0
    arap_weight: float = 1.0
    area_weight: float = 1e6
    edge_weight: float = 1e2
    track_weight: float = 1e-3
    """Weight of the distance, in pixels, to where a point tracker saw points of the surface."""
    restart_above: float = 0.0
    """meshes: try the half turn too where the first alignment ends further from the target than this share of its
    diagonal; 0 always tries it."""
    coarse_rounds: int = 0
    """meshes: rounds of a coarse alignment of limbs between the two descents; 0 has none, as in the paper."""
    coarse_nodes: int = 150
    """meshes: nodes of the coarse alignment, spread over the mesh."""
    surface_samples: int = 0
    """meshes: points spread over each surface whose distance is measured; 0 takes the vertices, as the paper does."""
    normal_match: float = 0.0
    """meshes: how much neighbouring points must face alike, as a length; 0 takes the nearest, as the paper does."""
    early_stop: float = 0.0
    """Stop once the loss improves by less than this share over 50 iterations; 0 never stops early."""
    video_size: int = 384
    """video: side of the pictures that are compared, in pixels; each frame's first rounds take half of it."""
    video_nodes: int = 120
    """video: nodes that carry the mesh."""
    video_rounds: int = 4
    """video: renderings compared per frame."""
    video_stiffness: float = 0.15
    """video: how strongly neighbouring nodes keep their distance."""
    video_bending: float = 0.15
    """video: how strongly neighbouring nodes turn together."""
    video_inertia: float = 0.02
    """video: how strongly nodes keep to their expected place across the view."""
    video_depth_inertia: float = 0.1
    """video: the same along the view."""
    video_depth_pull: float = 0.1
    """video: share of a node's change of depth that is taken back in every frame."""
    video_sideways: float = 0.3
    """video: how strongly limbs keep to moving along the mesh's plane of symmetry, if that is seen from the side."""
    video_outline: float = 0.5
    """video: weight of the outline against the flow."""
    video_claims: float = 0.3
    """video: weight of pixels that nothing explains yet, which hidden limbs are drawn to."""
    video_fit_size: int = 512
    """video: side of the pictures to which every vertex is fitted once the nodes have settled."""
    video_fit_rounds: int = 3
    """video: rounds of that fit."""
    video_fit_smoothness: float = 0.1
    """video: how smooth its shifts are."""


@dataclass(frozen=True)
class TextureSettings:
    """Section 4.4: one texture for all keyframes."""

    method: Literal["optimise", "project"] = "project"
    """optimise: gradient descent over views, as the paper does; project: blend the frames into the atlas directly."""
    size: int = 1024
    """Side of the texture, in texels."""
    keep_template: bool = True
    """Your own mesh keeps the texture or colours it came with; False paints it anew from the video."""
    views: int = 100
    """optimise: renderings of the first mesh's own look that are fitted beside the frames."""
    iterations: int = 2500
    lr: float = 1e-2
    """optimise: Adam's rate at the start; it falls to lr_end along half a cosine."""
    lr_end: float = 1e-5
    tv_weight: float = 0.01
    """optimise: weight of the texture's total variation."""
    reference_weight: float = 2.0
    """optimise: weight of the frames against the renderings."""


@dataclass(frozen=True)
class ExportSettings:
    """What is written."""

    quantise: bool = False
    """Store positions as 16-bit integers (KHR_mesh_quantization): smaller, opens in most viewers."""
    morph_normals: bool = False
    """Add normals to every morph target: better shading, twice the size."""
    texture_format: Literal["png", "jpeg"] = "png"
    """png is exact; jpeg is a third of the size."""
    per_frame: Literal["none", "glb", "obj"] = "none"
    """Also write one still mesh per frame."""
    preview: bool = True
    """Write a video of the input and the re-render side by side."""
    preview_size: int = 512


@dataclass(frozen=True)
class Settings:
    """Everything a run depends on, besides the video itself."""

    preset: Preset = "fast"
    seed: int = 42
    device: str = "auto"
    """cpu, cuda, or auto."""
    stereo: str = "auto"
    """dust3r, vggt, features, or auto: the best that can run here."""
    perceptual: str = "auto"
    """dreamsim, structure, or auto: the best that can run here."""
    commercial_use: bool = False
    """Refuse every model whose licence forbids commercial use."""
    low_vram: bool = False
    """Keep models on the GPU only while they work."""
    video: VideoSettings = field(default_factory=VideoSettings)
    matting: MattingSettings = field(default_factory=MattingSettings)
    keyframes: KeyframeSettings = field(default_factory=KeyframeSettings)
    generator: GeneratorSettings = field(default_factory=GeneratorSettings)
    camera: CameraSearchSettings = field(default_factory=CameraSearchSettings)
    refinement: RefinementSettings = field(default_factory=RefinementSettings)
    registration: RegistrationSettings = field(default_factory=RegistrationSettings)
    texture: TextureSettings = field(default_factory=TextureSettings)
    export: ExportSettings = field(default_factory=ExportSettings)

    @staticmethod
    def of(preset: Preset = "fast", **changes: Any) -> Settings:
        """The settings of a preset; ``changes`` replaces top-level fields."""
        if preset not in get_args(Preset):
            raise V2M4Error(f"There is no preset “{preset}”. Choose one of: {', '.join(get_args(Preset))}.")
        return replace(_PRESETS[preset], **changes)

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
        if not isinstance(data, dict):
            raise V2M4Error("The settings file must hold one JSON object, as settings.json in a run's folder does.")
        return _update(Settings.of(data.get("preset", "fast")), data, "")


def _update(base: Any, data: dict[str, Any], where: str) -> Any:
    hints = get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for name, value in data.items():
        if name not in hints:
            raise V2M4Error(f"The settings have no entry “{where}{name}”. Remove it or check its spelling.")
        if dataclasses.is_dataclass(hints[name]):
            if not isinstance(value, dict):
                raise V2M4Error(f"{where}{name} must be an object with settings of its own, but is {value!r}.")
            changes[name] = _update(getattr(base, name), value, f"{where}{name}.")
        else:
            changes[name] = _coerce(hints[name], value, where + name)
    return replace(base, **changes)


def _coerce(hint: Any, value: Any, where: str) -> Any:
    options = get_args(hint)
    if get_origin(hint) is Literal:
        if value not in options:
            raise V2M4Error(f"{where} cannot be {value!r}. Choose one of: {', '.join(map(str, options))}.")
        return value
    if type(None) in options:
        if value is None:
            return None
        hint = next(o for o in options if o is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise V2M4Error(f"{where} must be a {hint.__name__}, but is {value!r}.")
    return value


_PAPER = Settings(
    preset="paper",
    video=VideoSettings(longest_side=1024),
    keyframes=KeyframeSettings(mode="fixed", stride=5),
    generator=GeneratorSettings(triposg=TripoSgSettings(guidance=7.5), hunyuan3d=Hunyuan3DSettings(coarsest=384)),
    camera=CameraSearchSettings(
        method="algorithm1",
        warm_start=False,
        stereo_fit="chamfer",
        stereo_points=50000,
        stereo_size=518,
        swarm_memory=False,
        descent_size=518,
    ),
    refinement=RefinementSettings(method="paper"),
    registration=RegistrationSettings(method="meshes"),
    texture=TextureSettings(method="optimise"),
)
_FAST = Settings(
    preset="fast",
    registration=RegistrationSettings(
        global_iterations=60,
        global_views=4,
        coarse_rounds=20,
        local_iterations=60,
        local_views=4,
        local_step=0.02,
        image_weight=0.01,
        chamfer_weight=10.0,
        view_size=128,
        view_pool=24,
        surface_samples=5000,
        normal_match=0.1,
        restart_above=0.05,
    ),
)
_DRAFT = Settings(
    preset="draft",
    video=VideoSettings(longest_side=256),
    keyframes=KeyframeSettings(motion_threshold=0.4, min_stride=4, stride=8),
    generator=GeneratorSettings(inflate_faces=2500, max_faces=4000, trellis_steps=12),
    camera=CameraSearchSettings(descent_iterations=60, score_size=112, descent_size=128),
    refinement=RefinementSettings(enabled=False),
    registration=replace(
        _FAST.registration, video_rounds=2, video_fit_rounds=1, global_iterations=40, local_iterations=30
    ),
    texture=TextureSettings(size=512),
    export=ExportSettings(preview_size=256),
)
_PRESETS: dict[str, Settings] = {"paper": _PAPER, "fast": _FAST, "draft": _DRAFT}
