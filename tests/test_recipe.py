"""What is decided when a run opens, and that nothing decides it again later."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from v2m4 import import_graph
from v2m4.errors import V2M4Error
from v2m4.generators import GENERATORS
from v2m4.recipe import Recipe
from v2m4.registry import Plug
from v2m4.settings import Settings, changed
from v2m4.stage_spec import fingerprints
from v2m4.steps import STAGES


def recipe(**dotted: object) -> Recipe:
    return Recipe.of(changed(Settings(), {name.replace("__", "."): value for name, value in dotted.items()}))


def prints(recipe: Recipe, source: Path = Path("nothing")) -> dict[str, str]:
    return fingerprints(source, recipe, STAGES)


def test_no_choice_is_left_open() -> None:
    settings = recipe().settings
    assert "auto" not in (settings.generator.name, settings.stereo, settings.perceptual, settings.device)
    assert Recipe.of(settings) == recipe()


def test_facts_follow_from_the_settings(tmp_path: Path) -> None:
    template = tmp_path / "mesh.obj"
    assert recipe().anchor == "fullest" and not recipe().mesh_per_keyframe
    meshes = recipe(registration__method="meshes")
    assert meshes.anchor == "first" and meshes.mesh_per_keyframe
    mine = recipe(generator__template=template)
    assert mine.names["generator"] == "template" and mine.anchor == "first" and mine.keeps_look
    assert not recipe(generator__template=template, texture__keep_template=False).keeps_look
    assert recipe(generator__name="trellis").refines
    assert not recipe(generator__name="trellis", refinement__enabled=False).refines
    assert recipe().mending == Settings().mending and mine.mending == replace(Settings().mending, least_stretch=0)
    assert recipe().mends and not meshes.mends and not recipe(mending__enabled=False).mends
    assert "stereo" not in recipe(camera__stereo__enabled=False).names


def test_clicks_that_are_none_are_refused_with_all_else_that_is_wrong() -> None:
    with pytest.raises(V2M4Error, match="seed must be.*matting.points holds “1,2”"):
        recipe(seed=-1, matting__points="1,2")


def test_weights_that_arrive_make_another_recipe_and_other_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe()
    monkeypatch.setattr(Plug, "missing", lambda self: [])
    after = recipe()
    assert (before.names["generator"], after.names["generator"]) == ("sculpt", "trellis")
    old, new = prints(before), prints(after)
    assert old["video"] == new["video"]
    assert all(old[stage] != new[stage] for stage in ("generation", "camera", "registration", "export"))


@pytest.mark.parametrize(
    ("setting", "value", "first_changed"),
    [
        ("video.longest_side", 256, "video"),
        ("matting.min_area", 0.1, "matting"),
        ("registration.method", "meshes", "keyframes"),
        ("generator.inflate.faces", 999, "generation"),
        ("camera.rigid.directions", 99, "camera"),
        ("registration.video.nodes", 50, "motion"),
        ("mending.fits", 1, "mending"),
        ("texture.size", 64, "texture"),
        ("export.quantise", True, "export"),
    ],
)
def test_a_setting_changes_the_fingerprints_from_its_stage_on(setting: str, value: object, first_changed: str) -> None:
    before, after = prints(recipe()), prints(Recipe.of(changed(Settings(), {setting: value})))
    names = [spec.name for spec in STAGES]
    assert [name for name in names if before[name] != after[name]] == names[names.index(first_changed) :]


def test_a_template_counts_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text("v 0 0 0")
    before = prints(recipe(generator__template=path))
    path.write_text("v 0 0 1")
    after = prints(recipe(generator__template=path))
    assert before["keyframes"] == after["keyframes"] and before["generation"] != after["generation"]


def test_a_template_counts_with_the_files_that_it_names(tmp_path: Path) -> None:
    path = tmp_path / "mesh.obj"
    path.write_text("mtllib mesh.mtl")
    (tmp_path / "mesh.mtl").write_text("newmtl skin\nmap_Kd skin.png")
    before = prints(recipe(generator__template=path))
    (tmp_path / "skin.png").write_bytes(b"put beside after the warning")
    assert prints(recipe(generator__template=path))["generation"] != before["generation"]


@pytest.fixture
def edited(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Makes a module's source count as another one."""
    real = import_graph._digest

    def edit(module: str) -> None:
        file = import_graph.source_of(module)
        monkeypatch.setattr(import_graph, "_digest", lambda path: "edited" if path == file else real(path))
        import_graph.code_digest.cache_clear()

    yield edit
    import_graph.code_digest.cache_clear()


@pytest.mark.parametrize(
    ("module", "first_changed"),
    [
        ("run", "video"),
        ("artefacts", "video"),
        ("sources.stream", "video"),
        ("masks", "matting"),
        ("compiled", "matting"),
        ("matting.motion", "matting"),
        ("steps.keyframes", "keyframes"),
        ("generators.inflate.outline", "generation"),
        ("steps.camera", "camera"),
        ("stages.progress", "camera"),
        ("perceptual.structure", "camera"),
        ("stereo.features", "camera"),
        ("stages.registration.video", "motion"),
        ("stages.mending.poses", "mending"),
        ("stages.texture.project_numba", "texture"),
        ("evaluation.report", "export"),
        ("generators.sculpt.generator", None),
        ("console", None),
        ("errors", None),
    ],
)
def test_edited_code_undoes_what_rests_on_it(
    edited: Callable[[str], None], module: str, first_changed: str | None
) -> None:
    names, before = [spec.name for spec in STAGES], prints(recipe(generator__name="inflate"))
    edited(f"v2m4.{module}")
    after = prints(recipe(generator__name="inflate"))
    expected = [] if first_changed is None else names[names.index(first_changed) :]
    assert [name for name in names if before[name] != after[name]] == expected


def test_a_plug_of_another_package_counts_with_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    before = prints(recipe())
    plug = GENERATORS[recipe().names["generator"]]
    monkeypatch.setitem(GENERATORS, plug.name, replace(plug, distribution="mine 0.2"))
    assert changed_stages(before, prints(recipe()))[0] == "generation"


def changed_stages(before: dict[str, str], after: dict[str, str]) -> list[str]:
    return [name for name in before if before[name] != after[name]]


def test_the_clips_name_counts_since_it_is_written_into_results(tmp_path: Path) -> None:
    for name in ("walk", "run"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes(b"the same")
    assert changed_stages(prints(recipe(), tmp_path / "walk"), prints(recipe(), tmp_path / "run"))[0] == "video"


@pytest.mark.parametrize("setting", ["low_vram", "commercial_use"])
def test_settings_that_no_stage_works_with_are_written_anew(setting: str) -> None:
    assert changed_stages(prints(recipe()), prints(recipe(**{setting: True}))) == ["export"]


def test_every_section_of_the_settings_is_read_by_its_stage() -> None:
    """Plugs' names are read as what fills the ports; export reads all of them, since it writes them."""
    read = {name.split(".")[1] for spec in STAGES for name in spec.reads if name.startswith("settings.")}
    left = {field.name for field in dataclasses.fields(Settings)} - read
    assert left == {"stereo", "perceptual", "preset", "low_vram", "commercial_use", "export"}


def test_a_recipe_survives_the_manifest() -> None:
    made = recipe(generator__template=Path("mesh.glb"), registration__method="meshes")
    assert Recipe.from_plain(json.loads(json.dumps(made.to_plain()))) == made


def test_contradictions_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(V2M4Error, match="Drop one of the two"):
        recipe(generator__template=tmp_path, generator__name="inflate")
    with pytest.raises(V2M4Error, match="--template MESH"):
        recipe(generator__name="template")
    with pytest.raises(V2M4Error, match="no generator called “cube”"):
        recipe(generator__name="cube")
    with pytest.raises(V2M4Error, match="no matting called “scissors”"):
        recipe(matting__method="scissors")
    with pytest.raises(V2M4Error, match="may not be used commercially"):
        recipe(stereo="dust3r", commercial_use=True)


def test_what_generators_declare_is_what_they_are() -> None:
    from v2m4.stages.refinement import Resumable

    for plug in GENERATORS.values():
        assert issubclass(plug.load(), Resumable) == plug.refinable, plug.name
