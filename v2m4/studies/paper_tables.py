"""The rows of the paper's tables (its appendix, tables 1 to 5): what each changes, and what the paper measured.

Tables 3 to 5 were measured on the paper's *simple* set (Consistent4D), table 2 on that, the *complex* one and both.
Rows that need no weights and rows of ours stand beside them, without numbers of the paper's.

Noise (table 5): the paper does not say where it is injected or how much 1x is. Here Gaussian noise moves every vertex
of a mesh as its generator returns it, before anything else sees it; at 1x its standard deviation is 1 % of the diagonal
of the mesh's box (the setting ``generator.noise``), drawn from the step's own random numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PAPER_MEASURES = ("clip", "lpips", "fvd", "dreamsim")
DATASETS = ("simple", "complex", "all")
NOISE = 0.01
"""Standard deviation at 1x, as a share of the box's diagonal."""

# The camera search that tables 3 to 5 take apart, on every keyframe anew.
SEARCH: Mapping[str, Any] = {"camera.method": "algorithm1", "camera.warm_start": False}
_MESHES: Mapping[str, Any] = {"registration.method": "meshes"}


@dataclass(frozen=True)
class Row:
    """A row: its key on the command line, its label, the settings that it changes, and the paper's four numbers.

    naive: the baseline instead of the method. note: what has to be said of it. own_mesh: each clip's generator is the
    template, with the true mesh of the first frame.
    """

    key: str
    label: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    paper: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    naive: bool = False
    note: str = ""
    own_mesh: bool = False


def _simple(*values: float) -> dict[str, tuple[float, ...]]:
    return {"simple": values}


_GENERATORS = {
    "trellis": (
        "TRELLIS",
        ((0.8905, 0.1597, 1342.66, 0.1282), (0.8887, 0.1265, 1216.19, 0.1492), (0.8891, 0.1352, 1014.45, 0.1438)),
        ((0.9259, 0.1017, 825.59, 0.0688), (0.9008, 0.0747, 666.04, 0.1220), (0.9073, 0.0817, 576.73, 0.1082)),
    ),
    "craftsman3d": (
        "CraftsMan3D",
        ((0.9177, 0.1702, 1185.47, 0.0924), (0.9060, 0.1350, 1162.00, 0.1027), (0.9098, 0.1446, 970.24, 0.0999)),
        ((0.9212, 0.1051, 960.63, 0.0772), (0.9268, 0.0709, 558.34, 0.1046), (0.9270, 0.0795, 524.00, 0.0977)),
    ),
    "triposg": (
        "TripoSG",
        ((0.9259, 0.1534, 973.16, 0.0657), (0.9201, 0.1404, 1023.88, 0.0891), (0.9222, 0.1436, 859.04, 0.0833)),
        ((0.9286, 0.0971, 758.25, 0.0652), (0.9359, 0.0608, 433.38, 0.0873), (0.9359, 0.0698, 401.71, 0.0818)),
    ),
    "hunyuan3d": (
        "Hunyuan3D 2.0",
        ((0.9185, 0.1471, 851.01, 0.0647), (0.9097, 0.1185, 1022.81, 0.0962), (0.9144, 0.1284, 796.98, 0.0853)),
        ((0.9286, 0.0885, 691.48, 0.0634), (0.9192, 0.0605, 415.53, 0.0990), (0.9224, 0.0674, 377.14, 0.0901)),
    ),
}
# Key: label, and the settings that make it.
_WITHOUT_WEIGHTS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "inflate": ("inflate", {"generator.name": "inflate"}),
    "sculpt": ("sculpt, sheet", {"generator.name": "sculpt", "generator.sculpt.form": "sheet"}),
    "sculpt-solid": ("sculpt, solid", {"generator.name": "sculpt", "generator.sculpt.form": "solid"}),
}


def _table2() -> tuple[Row, ...]:
    rows = []
    for naive in (True, False):
        for name, (title, *numbers) in _GENERATORS.items():
            paper = dict(zip(DATASETS, numbers[0 if naive else 1], strict=True))
            label = f"Naïve {title}" if naive else f"V2M4 ({title})"
            rows.append(Row(_key(name, naive), label, {"generator.name": name}, paper, naive))
        for name, (title, changes) in _WITHOUT_WEIGHTS.items():
            label = f"Naïve {title}" if naive else f"V2M4 ({title})"
            rows.append(Row(_key(name, naive), label, changes, naive=naive, note="a generator the paper has not"))
        label = "The true mesh, still" if naive else "V2M4 (template, the true mesh)"
        note = "the true mesh of the first frame is given"
        rows.append(Row(_key("template", naive), label, naive=naive, note=note, own_mesh=True))
    return tuple(rows)


def _key(name: str, naive: bool) -> str:
    return f"naive-{name}" if naive else name


_FINAL = _simple(0.9259, 0.1017, 825.59, 0.0688)
_VGGT = {
    "craftsman3d": (0.9207, 0.1046, 887.53, 0.0753),
    "triposg": (0.9250, 0.0960, 730.13, 0.0757),
    "hunyuan3d": (0.9279, 0.0879, 727.24, 0.0636),
}
TABLES: Mapping[int, tuple[Row, ...]] = {
    2: _table2(),
    3: (
        Row("final", "Final", SEARCH, _FINAL),
        Row(
            "no-swarm",
            "w/o PSO",
            {**SEARCH, "camera.algorithm1.swarm.enabled": False},
            _simple(0.8855, 0.1158, 1090.86, 0.1184),
        ),
        Row(
            "no-stereo",
            "w/o DUST3R",
            {**SEARCH, "camera.stereo.enabled": False},
            _simple(0.9236, 0.1046, 756.29, 0.0713),
        ),
        Row(
            "no-descent",
            "w/o SGD",
            {**SEARCH, "camera.algorithm1.descent.enabled": False},
            _simple(0.9146, 0.1269, 1086.14, 0.0861),
        ),
        Row(
            "no-refinement",
            "w/o Mesh Refinement",
            {**SEARCH, "refinement.enabled": False},
            _simple(0.9028, 0.1103, 1023.60, 0.1032),
        ),
        Row("vggt", "Replace DUST3R with VGGT", {**SEARCH, "stereo": "vggt"}, _simple(0.9230, 0.1006, 821.22, 0.0631)),
        *(
            Row(
                f"vggt-{name}",
                f"{_GENERATORS[name][0]}, VGGT",
                {**SEARCH, "stereo": "vggt", "generator.name": name},
                _simple(*numbers),
            )
            for name, numbers in _VGGT.items()
        ),
        Row("rigid", "directions instead of algorithm 1", {"camera.method": "rigid"}, note="ours, not in the paper"),
        Row("meshes", "registration: mesh to mesh", {**SEARCH, **_MESHES}, note="the paper's way"),
        Row(
            "video",
            "registration: follow the video",
            {**SEARCH, "registration.method": "video"},
            note="ours, not in the paper",
        ),
    ),
    4: (
        *(
            Row(
                f"search-{level:g}",
                f"DreamSim (camera search) {level:g}",
                {**SEARCH, "camera.score.image_weight": level},
                _simple(*numbers),
            )
            for level, numbers in (
                (0.1, (0.9176, 0.1058, 824.20, 0.0784)),
                (1.0, (0.9259, 0.1017, 825.59, 0.0688)),
                (10.0, (0.9234, 0.1037, 853.18, 0.0726)),
            )
        ),
        *(
            Row(
                f"refine-{level:g}",
                f"DreamSim (mesh refinement) {level:g}",
                {**SEARCH, "refinement.dreamsim_weight": level},
                _simple(*numbers),
            )
            for level, numbers in (
                (0.1, (0.9129, 0.1054, 876.41, 0.0911)),
                (1.0, (0.9259, 0.1017, 825.59, 0.0688)),
                (10.0, (0.9226, 0.1078, 932.72, 0.0750)),
            )
        ),
        *(
            Row(
                f"arap-{level:g}",
                f"ARAP {level:g}",
                {**SEARCH, **_MESHES, "registration.meshes.large_steps.arap_weight": level},
                _simple(*numbers),
            )
            for level, numbers in (
                (0.1, (0.9200, 0.1046, 814.31, 0.0727)),
                (1.0, (0.9259, 0.1017, 825.59, 0.0688)),
                (10.0, (0.9258, 0.1058, 928.54, 0.0744)),
            )
        ),
    ),
    5: (
        Row("original", "Original", SEARCH, _FINAL),
        Row("noise-0.1", "0.1×", {**SEARCH, "generator.noise": 0.1 * NOISE}, _simple(0.9289, 0.1022, 942.99, 0.0686)),
        Row("noise-1", "1×", {**SEARCH, "generator.noise": NOISE}, _simple(0.9259, 0.1077, 947.57, 0.0771)),
        Row("noise-10", "10×", {**SEARCH, "generator.noise": 10 * NOISE}, _simple(0.8016, 0.1694, 2410.03, 0.2577)),
    ),
}
TITLES: Mapping[int, str] = {
    1: "Seconds per stage",
    2: "Base generators",
    3: "Components",
    4: "Loss weights",
    5: "Noise in generation",
}
PAPER_SECONDS: Mapping[str, float] = {
    "generation": 1.5,
    "camera": 25.5,
    "refinement": 14.1,
    "registration": 15.6,
    "texture": 0.3,
}
"""Table 1, seconds per frame on one A100. camera: DUST3R 13.9, PSO 11.1, SGD 0.5. Interpolation and conversion: 0.7."""
PAPER_TOTAL = 57.7
