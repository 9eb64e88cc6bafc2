"""Every plug's class beside the port it fills, for the type checker (`make lint`).

Plugs are declared with their class's name as text, so that listing them imports nothing heavy, and no type checker
follows a text. Here each class is handed over where the port's Protocol is asked for. `tests.test_registry` sees to it
that none is missing.
"""

from __future__ import annotations

from v2m4.evaluation.clip_similarity import ClipSimilarity
from v2m4.evaluation.i3d import VideoFeatures
from v2m4.evaluation.judges import ClipFeatures, PictureJudge
from v2m4.generators import Generator
from v2m4.generators.craftsman3d.generator import CraftsMan3D
from v2m4.generators.http.generator import HttpGenerator
from v2m4.generators.hunyuan3d.generator import Hunyuan3D
from v2m4.generators.inflate.generator import Inflate
from v2m4.generators.sculpt.generator import Sculpt
from v2m4.generators.template.generator import Template
from v2m4.generators.trellis.predictor import Trellis
from v2m4.generators.triposg.generator import TripoSg
from v2m4.generators.triposr.predictor import TripoSR
from v2m4.matting import Matting
from v2m4.matting.alpha import Alpha
from v2m4.matting.flat import Flat
from v2m4.matting.motion import Motion
from v2m4.matting.rembg import Rembg
from v2m4.perceptual import Perceptual
from v2m4.perceptual.dreamsim import DreamSim
from v2m4.perceptual.lpips import Lpips
from v2m4.perceptual.structure import Structure
from v2m4.registry import PlugClass
from v2m4.stereo import Locator, Stereo
from v2m4.stereo.dust3r.predictor import Dust3r
from v2m4.stereo.features import Features
from v2m4.stereo.vggt.predictor import VggtCommercialStereo, VggtStereo
from v2m4.tracks import Tracker
from v2m4.tracks.cotracker3.predictor import CoTracker, CoTrackerOnline

GENERATORS: tuple[PlugClass[Generator], ...] = (
    CraftsMan3D,
    HttpGenerator,
    Hunyuan3D,
    Inflate,
    Sculpt,
    Template,
    Trellis,
    TripoSg,
    TripoSR,
)
STEREOS: tuple[PlugClass[Stereo | Locator], ...] = (Dust3r, Features, VggtCommercialStereo, VggtStereo)
PERCEPTUALS: tuple[PlugClass[Perceptual], ...] = (DreamSim, Lpips, Structure)
MATTINGS: tuple[PlugClass[Matting], ...] = (Alpha, Flat, Motion, Rembg)
TRACKERS: tuple[PlugClass[Tracker], ...] = (CoTracker, CoTrackerOnline)
MEASURES: tuple[PlugClass[PictureJudge | ClipFeatures], ...] = (ClipSimilarity, VideoFeatures)
