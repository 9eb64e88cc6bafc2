"""Who imports whom: no circles, nothing upwards, and the core knows ports but no plug.

The layers are those written down in CONTRIBUTING.md. Imports are read from the source, those inside functions and for
type checkers too. The package's root is left out: it brings its public names at their first use.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PORTS = {"generators", "stereo", "perceptual", "matting", "tracks"}
# What a port has beside its plugs that others may call: matting is a stage as well.
OPEN = {"v2m4.matting.stage"}

Imports = Mapping[str, set[str]]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """The project's modules that a source imports, wherever in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield inner
                elif node.module in modules:
                    yield node.module


@pytest.fixture(scope="module")
def imports() -> Imports:
    paths = {module_name(path): path for path in (ROOT / "v2m4").rglob("*.py")}
    found = {name: set(imported(ast.parse(path.read_text()), set(paths))) for name, path in paths.items()}
    del found["v2m4"]
    return {name: targets - {name, "v2m4"} for name, targets in found.items()}


def room(module: str) -> str:
    """What stands in the list of layers: the file or folder right under the package."""
    return re.sub("_(numba|triton)$", "", module.split(".")[1])


def layers() -> list[list[str]]:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Who may import whom")[2].partition("\n## ")[0]
    rows = re.findall(r"^    (\w.*)$", text, flags=re.MULTILINE)
    return [re.split(", *", re.split("  +", row)[0]) for row in rows]


def circle(graph: Imports) -> list[str]:
    """The modules of one circle; empty where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_circles_are_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})) == {"a", "b", "c"}
    hidden = ast.parse("def f():\n    from v2m4.b import x\n    import v2m4.c")
    assert list(imported(hidden, {"v2m4.b", "v2m4.c"})) == ["v2m4.b", "v2m4.c"]


def test_no_modules_import_each_other_in_a_circle(imports: Imports) -> None:
    assert not circle(imports)


def test_no_rooms_import_each_other_in_a_circle(imports: Imports) -> None:
    rooms: dict[str, set[str]] = {}
    for module, targets in imports.items():
        rooms.setdefault(room(module), set()).update(map(room, targets))
    assert not circle({name: targets - {name} for name, targets in rooms.items()})


def test_every_room_has_a_layer(imports: Imports) -> None:
    written = [name for row in layers() for name in row]
    assert len(written) == len(set(written))
    assert sorted(written) == sorted({room(module) for module in imports} - {"__main__"})


def test_nothing_is_imported_from_above(imports: Imports) -> None:
    height = {name: number for number, row in enumerate(layers()) for name in row} | {"__main__": len(layers())}
    upwards = [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if height[room(target)] > height[room(module)]
    ]
    assert not upwards


def test_a_port_knows_nothing_of_the_others(imports: Imports) -> None:
    assert not [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if room(module) in PORTS and room(target) in PORTS - {room(module)}
    ]


def test_the_core_imports_no_plugs_module(imports: Imports) -> None:
    """Plugs are data until they are made."""
    assert not [
        f"{module} imports {target}"
        for module, targets in imports.items()
        for target in targets
        if room(target) in PORTS and room(module) not in PORTS and target.count(".") > 1 and target not in OPEN
    ]


def test_kernels_are_named_after_what_compiles_them() -> None:
    compilers = {
        "triton": re.compile(r"^import triton", re.M),
        "numba": re.compile(r"^(import|from) (numba|v2m4\.compiled)", re.M),
    }
    for path in (ROOT / "v2m4").rglob("*.py"):
        if path.stem == "compiled":  # the decorator itself
            continue
        for compiler, mark in compilers.items():
            assert bool(mark.search(path.read_text())) == path.stem.endswith(f"_{compiler}"), path


# Where the method's own numbers would stand: stages, what stands beside them, and the plugs that need no weights. What
# was trained, published or standardised (networks, formats, benchmarks' protocols) has constants with their source.
METHOD = (
    "stages",
    "matting",
    "generators/inflate",
    "generators/sculpt",
    "generators/template",
    "generators/vecset/surface.py",
    "geometry",
    "foreshortening.py",
    "keyframes.py",
    "perceptual/structure.py",
    "stereo/features.py",
    "steps",
    "video.py",
    "render",
    "export",
    "evaluation",
    "studies",
)
# Numbers in bodies there that are no choice of the method: batches, guards, half a byte, what a library asks, networks.
NO_CHOICE: Mapping[str, set[float]] = {
    "stages/camera/rigid_alignment.py": {1e3},  # most damping
    "stages/camera/rigid_alignment_numba.py": {0.25},  # mean of two pictures' central differences
    "stages/camera/rigid_search.py": {0.99, 128, 256},  # whole pixels; poses at once
    "stages/camera/scoring.py": {16, 32, 256},  # cameras at once
    "stages/refinement.py": {0.7, 16, 1000, 1024},  # progress; loss scaling in half precision; times in thousandths
    "stages/registration/correspondences.py": {5, 127, 30000},  # OpenCV's mask; half a byte; its longest remap
    "stages/registration/meshes.py": {10},  # losses between looks at whether to stop
    "stages/registration/parts/follower.py": {127},
    "stages/registration/parts/looks.py": {0.3, 250, 30000},  # narrower Gaussians do nothing; whole pixels; OpenCV's
    "stages/registration/parts/probes_numba.py": {0.0625, 0.125, 1e9},  # the kernel's sum; beyond every picture
    "stages/registration/parts/skeleton.py": {12},  # of an affine map
    "stages/registration/parts/synthesis_numba.py": {0.125},  # the kernel's sum
    "stages/texture/project.py": {127},
    "matting/background_labels.py": {100, 256},  # percent; levels
    "matting/clicks.py": {127, 1e6},  # nowhere
    "matting/colour_modes.py": {1e4},  # a colour that is none
    "matting/colour_modes_numba.py": {1e9},
    "matting/flat.py": {0.125},  # the norm of Sobel's kernel
    "matting/graph_cut_numba.py": {0.35},  # the longest step that converges
    "matting/motion.py": {128},  # mid-grey
    "matting/rembg.py": {127},
    "matting/soft_edges.py": {0.3},  # narrower Gaussians do nothing
    "matting/stage.py": {5, 127},  # places that a sentence names
    "generators/inflate/outline.py": {5, 127},
    "generators/inflate/remeshing_numba.py": {0.01, 1.001},  # areas of triangles; inside the grid
    "generators/inflate/texture.py": {1.001},
    "generators/sculpt/colors.py": {5},
    "generators/sculpt/picture.py": {127},
    "generators/sculpt/sheet.py": {5},
    "generators/sculpt/surface.py": {5},
    "generators/template/reading.py": {20},  # of 2^20 bytes
    "generators/template/texture_merge.py": {0.01, 1.5, 16},  # gives up; texel centres
    "geometry/camera.py": {0.05, 100},  # near and far plane
    "geometry/cleanup.py": {63},  # bits
    "geometry/embedded_deformation.py": {1e150},
    "geometry/laplacian.py": {0.1, 0.9, 0.999},  # AdamUniform's own, as published
    "geometry/marching_cubes.py": {5, 7, 12, 256},
    "geometry/neighbours_triton.py": {32, 128, 0x7FFFFFFF},
    "geometry/rotations.py": {24},  # Taylor
    "geometry/sampling.py": {0.25, 0.5698402909980532, 0.7548776662466927, 5},  # TRELLIS's remap; plastic number
    "geometry/similarity.py": {5},  # rounds until the right matches stay the same
    "foreshortening.py": {30000},  # OpenCV's longest remap
    "keyframes.py": {127},
    "steps/pose_pictures.py": {127},
    "video.py": {1.05, 5},  # frames that a container may promise too few of; digits
    "render/atlas.py": {20},  # rounds of k-means, which rarely takes as many
    "render/environment.py": {0.282095, 0.315392, 0.488603, 0.546274, 1.092548},  # spherical harmonics
    "render/gaussians.py": {0.1, 0.499, 0.501, 1.3, 32},  # a trial; pixel centres; the reference's linearisation; bits
    "render/gaussians_triton.py": {5, 7},  # columns of a table
    "render/images.py": {0.25},  # mean of four
    "render/raster_numba.py": {0.499, 0.501},  # pixel centres
    "render/texture.py": {0.25},  # an eigenvalue
    "render/vertex_colors.py": {0.1, 0.4, 0.8},  # inside the third of a face
    "render/visibility.py": {0.499, 0.501},
    "render/visibility_triton.py": {0.499, 0.501, 5, 7, 10, 11, 12, 128, 1024, 0x7FFFFFFFFFFFFFFF},  # columns; programs
    "export/container.py": {12},  # bytes of a GLB's header
    "export/film.py": {0.01, 5, 127, 360, 1000},  # rates that containers can say; digits; degrees
    "export/looks.py": {0.25, 0.35, 32, 64, 65535},  # the studio's sky and its pixels; levels
    "export/video.py": {18, 1000},  # visually lossless; rates that containers can say
    "evaluation/alignment.py": {10_000},  # ActionBench's protocol
    "evaluation/actionbench.py": {100_000},
    "evaluation/judges.py": {0.05, 10, 12},  # sizes of networks
    "evaluation/measures.py": {0.01, 0.03, 1.5, 10, 11, 99},  # SSIM as published; decibels; percentiles
    "evaluation/plots.py": {0.3, 3.2, 6.4, 64},  # how a figure looks
    "evaluation/report.py": {127},
    "evaluation/scores.py": {100_000},  # ActionBench's protocol
    "evaluation/truth.py": {85, 65535},  # of a JPEG; levels
    "studies/ablation.py": {20_000},  # fewer points than the benchmark's: only differences are asked for
}
# Constants of modules: each with its reason beside it.
NAMED = {
    "ALPHA_MAX",
    "ALPHA_MIN",
    "ARRAY_BUFFER",
    "CHORD",
    "DETECTOR_SIZE",
    "ELEMENT_ARRAY_BUFFER",
    "FOV_DEG",
    "FRAME_SIZE",
    "HOPS",
    "KERNEL_SIZE",
    "LARGEST",
    "LEAST_HEIGHT",
    "LEAST_SIDE",
    "MARGIN",
    "MOST_BYTES",
    "MOST_FACES",
    "NEAR",
    "PAPER",
    "PART_FACES",
    "PLAIN_GREY",
    "PUBLISHED",
    "SLACK",
    "SMALLEST",
    "SPARE",
    "VIEW_SIZE",
    "WELD_STEPS",
    "WINDOW",
    "_ALPHA_NOISE",
    "_ANTIALIAS",
    "_AT_ONCE",
    "_AT_THE_RIM",
    "_BISECTIONS",
    "_BLOCK",
    "_C1",
    "_C2",
    "_C3",
    "_C4",
    "_C5",
    "_CACHED_BYTES",
    "_CANDIDATES",
    "_CENTRE_TOLERANCE",
    "_CHORD_ROUNDS",
    "_CHUNK",
    "_CLAMP_TO_EDGE",
    "_CLOCK_HZ",
    "_COARSE",
    "_CONTOUR",
    "_CONTOUR_WIDTHS",
    "_EVENTS_PER_FIT",
    "_FACES",
    "_FAINT",
    "_FARTHEST",
    "_FARTHEST_GREY",
    "_FEWEST_FOR_PNP",
    "_FILLS",
    "_FIRST_FILL",
    "_GLOBAL_SHARE",
    "_GREY",
    "_GROUP",
    "_HALVINGS",
    "_HEAVIEST",
    "_INT16_MAX",
    "_INT8_MAX",
    "_INVERTED",
    "_JPEG_QUALITY",
    "_LANES",
    "_LEAST_SAMPLES",
    "_LINEAR",
    "_LINEAR_MIPMAP_LINEAR",
    "_LUMA",
    "_MAD_TO_DEVIATION",
    "_MANY_POINTS",
    "_MIDDLE",
    "_MIN_SIDE",
    "_MOST_AGGRESSIVE",
    "_NEVER",
    "_NOTHING",
    "_OVERLAY",
    "_PANE_AREA",
    "_PANE_FILL",
    "_PARTED",
    "_PATIENCE_S",
    "_PIXELS_AT_ONCE",
    "_PREPARED",
    "_QUANTILE",
    "_QUERIES",
    "_RATE",
    "_RECOUNT",
    "_ROUGHNESS",
    "_ROUND",
    "_ROUNDS",
    "_ROWS_WORTH_SHARING",
    "_SCALED_EVERY",
    "_SCALE_LIMIT",
    "_SET_UP_TOGETHER",
    "_SIDE",
    "_SLACK",
    "_SLICE",
    "_SMALLER",
    "_SQUARINGS",
    "_STILL_S",
    "_STRIDE",
    "_SURVIVORS",
    "_SWEEPS",
    "_TOLD_EVERY",
    "_TO_LUMA_CHROMA",
    "_TRACKED_VERTICES",
    "_TRIANGLE",
    "_UINT16_MAX",
    "_UNIT",
    "_USUAL_FPS",
    "_VIEWS_AT_ONCE",
    "_VIEW_SIDE",
    "_WHOLE",
    "_WORTH_SHARING",
}
SMALL = {0, 0.5, 1, 2, 3, 4, 6, 8, 9, 90, 180, 255}
PROGRESS = {"Progress", "StageSpec", "reported", "between", "scaled"}
# The layout of a network that was trained; the numbers of the paper's tables.
PUBLISHED = {"generators/sculpt/network.py", "studies/paper_tables.py"}


def assigned(node: ast.AST) -> set[str]:
    """The names that a statement gives values to."""
    if not isinstance(node, ast.Assign):
        return set()
    return {inner.id for inner in ast.walk(node.targets[0]) if isinstance(inner, ast.Name)}


def free_numbers(tree: ast.Module, reasons: Collection[str] = ()) -> Iterator[float]:
    """The numbers of a source that are neither small, nor guards, nor places in arrays, nor shares of progress."""
    known: set[int] = set()
    for node in ast.walk(tree):
        named = bool(assigned(node)) and assigned(node) <= set(reasons)
        share = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in PROGRESS
        if named or share or isinstance(node, ast.Yield):
            known |= {id(inner) for inner in ast.walk(node)}
        elif isinstance(node, ast.Subscript):
            known |= {id(inner) for inner in ast.walk(node.slice)}
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and type(node.value) in (int, float) and id(node) not in known
        if number and node.value not in SMALL and not 0 < node.value <= 1e-3:
            yield node.value


def test_free_numbers_are_seen() -> None:
    code = "_FAINT = 0.1\nA = 7\n_FAINT, B = 11, 12\n"
    code += "def f(x):\n    yield 0.3\n    return max(x[5], 1e-9) * 0.45 + reported(x, 0.6)"
    assert sorted(free_numbers(ast.parse(code), {"_FAINT"})) == [0.45, 7, 11, 12]


def method_files() -> dict[str, Path]:
    package = ROOT / "v2m4"
    places = [package / place for place in METHOD]
    files = [path for place in places for path in ([place] if place.is_file() else place.rglob("*.py"))]
    found = {path.relative_to(package).as_posix(): path for path in files}
    return {name: path for name, path in found.items() if name not in PUBLISHED}


def test_no_number_of_the_method_stands_outside_the_settings() -> None:
    found = {name: set(free_numbers(ast.parse(path.read_text()), NAMED)) for name, path in method_files().items()}
    assert {name: new for name, numbers in found.items() if (new := numbers - NO_CHOICE.get(name, set()))} == {}


def test_every_constant_beside_the_method_has_its_reason_beside_it() -> None:
    without = []
    for name, path in method_files().items():
        lines = path.read_text().splitlines()
        for node in ast.parse(path.read_text()).body:
            if assigned(node) & NAMED and any(isinstance(inner, ast.Constant) for inner in ast.walk(node)):
                own, end = lines[node.lineno - 1 : node.end_lineno], node.end_lineno or node.lineno
                above, below = lines[node.lineno - 2], lines[end] if end < len(lines) else ""
                if not (any("#" in line for line in own) or above.startswith("#") or below.startswith('"""')):
                    without.append(f"{name}: {', '.join(sorted(assigned(node)))}")
    assert without == []


def names_in(path: Path) -> set[str]:
    """What a module offers to an import: its definitions, assignments and imports, wherever at its top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            found |= {alias.asname or alias.name for alias in node.names}
    return found


def test_every_imported_name_is_there() -> None:
    """In what neither the type checker nor most test runs look at."""
    own = ("v2m4", "tests", "benchmarks", "training", "scripts")
    unwatched = (ROOT / part for part in ("benchmarks", "scripts", "training", "tests/parity"))
    offered: dict[Path, set[str]] = {}
    missing = []
    for source in (path for folder in unwatched for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(source.read_text())):
            if not isinstance(node, ast.ImportFrom) or (node.module or "").split(".")[0] not in own:
                continue
            folder = ROOT.joinpath(*(node.module or "").split("."))
            file = folder.with_suffix(".py") if folder.with_suffix(".py").is_file() else folder / "__init__.py"
            if file.is_file() and file not in offered:
                offered[file] = names_in(file)
            lazy = "__getattr__" in offered.get(file, set())
            for alias in node.names:
                inner = folder / alias.name
                there = lazy or alias.name in offered.get(file, set())
                if not there and not inner.with_suffix(".py").is_file() and not inner.is_dir():
                    missing.append(f"{source.relative_to(ROOT)}: {alias.name} of {node.module}")
    assert not missing


LONG = 44  # lines; the twelve longest bodies are longer


def test_long_bodies_name_their_steps() -> None:
    silent = []
    for path in sorted((ROOT / "v2m4").rglob("*.py")):
        lines = path.read_text().splitlines()
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef) or (ast.get_docstring(node) is not None and len(node.body) == 1):
                continue
            first = node.body[1 if ast.get_docstring(node) is not None else 0].lineno - 1
            body = lines[first : node.end_lineno]
            if len(body) > LONG and not any(line.strip().startswith("# 1. ") for line in [lines[first - 1], *body]):
                silent.append(f"{path.relative_to(ROOT)}: {node.name}")
    assert silent == []
