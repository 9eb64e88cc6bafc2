"""The paper's tables: its numbers, rows that change what they say, a study that goes on and loses nothing."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import little_settings
from tests.toys import bobbing_ball
from v2m4.cli import main
from v2m4.errors import V2M4Error
from v2m4.evaluation.glb import read_glb
from v2m4.evaluation.judges import Panel
from v2m4.evaluation.scores import score
from v2m4.evaluation.truth import load_truth
from v2m4.settings import Settings, changed
from v2m4.steps.generation import shaken
from v2m4.studies import ablation, batch
from v2m4.studies.ablation import Measured, Study, cannot_run, folder_key, make, tables, write_tables
from v2m4.studies.paper_tables import NOISE, PAPER_SECONDS, PAPER_TOTAL, TABLES

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
SMALL = {
    "camera.algorithm1.samples": 60,
    "camera.algorithm1.swarm.size": 8,
    "camera.algorithm1.swarm.iterations": 2,
    "camera.stereo.enabled": False,
    "camera.score.size": 32,
    "export.preview": False,
}


@pytest.fixture(scope="module")
def study(lizard, tmp_path_factory):
    settings = changed(little_settings(), SMALL)
    return Study(5, (lizard,), tmp_path_factory.mktemp("study"), settings, ("original", "noise-10"), points=200)


@pytest.fixture(scope="module")
def measured(study):
    return make(study, Panel(left_out={"clip": "no weights"}), say=lambda line: None)


@pytest.mark.parametrize("table", TABLES)
def test_rows_are_settings_that_can_be(table):
    keys = [row.key for row in TABLES[table]]
    assert len(set(keys)) == len(keys)
    for row in TABLES[table]:
        changed(Settings.of("paper"), dict(row.changes)).checked()
        assert all(len(numbers) == 4 and 0 < numbers[0] < 1 < numbers[2] for numbers in row.paper.values())


def test_the_papers_numbers_are_the_appendixs():
    """Those that its text repeats: the final row is the same in every table, and table 1 adds up to its total."""
    final = (0.9259, 0.1017, 825.59, 0.0688)
    same = {2: ["trellis"], 3: ["final"], 4: ["search-1", "refine-1", "arap-1"], 5: ["original"]}
    for table, keys in same.items():
        rows = {row.key: row for row in TABLES[table]}
        assert all(rows[key].paper["simple"] == final for key in keys)
    interpolation_and_conversion = 0.7
    assert sum(PAPER_SECONDS.values()) + interpolation_and_conversion == pytest.approx(PAPER_TOTAL, abs=0.3)


def test_every_component_of_table_3_is_one_difference():
    rows = {row.key: row.changes for row in TABLES[3]}
    for key in ("no-swarm", "no-stereo", "no-descent", "no-refinement", "vggt", "meshes", "video"):
        assert len(set(rows[key].items()) - set(rows["final"].items())) == 1


def test_noise_is_gaussian_of_the_stated_size_and_none_changes_nothing():
    mesh = bobbing_ball().mesh_at(0.0)
    diagonal = float((mesh.vertices.amax(0) - mesh.vertices.amin(0)).norm())
    moved = [shaken(mesh, NOISE, torch.Generator().manual_seed(k)).vertices - mesh.vertices for k in range(20)]
    assert float(torch.stack(moved).std()) == pytest.approx(0.01 * diagonal, rel=0.02)
    assert shaken(mesh, 0.0, torch.Generator()) is mesh


def test_the_tables_hold_our_numbers_and_the_papers(study, measured):
    original, noisy = (m.values("iou") for m in measured)
    assert original != noisy
    made = tables(study, measured)
    table = made["table5"]
    assert [row[0] for row in table.rows] == ["Original", "10×"]
    assert table.rows[1][-4:] == ("0.8016", "0.1694", "2410.03", "0.2577")
    assert table.columns[1:4] == ("PSNR↑", "SSIM↑", "IoU↑")  # what nothing was measured with has no column
    assert "CLIP left out: no weights." in table.notes
    assert any("generator inflate" in note or "generator sculpt" in note for note in table.notes)
    stages = [row[0] for row in made["table1"].rows]
    assert stages[-1] == "total" and {"camera", "registration"} <= set(stages)
    (path, _) = write_tables(study.folder, made)
    assert path.name == "table5.md" and re.search(r"^\| 10× \|", path.read_text(), re.MULTILINE)


def test_a_study_goes_on_where_it_was(study, measured, monkeypatch):
    """Neither runs nor measuring are done again; other measures are."""
    begun = []
    monkeypatch.setattr("v2m4.pipeline.execute", lambda run, step, *rest: begun.append(step))
    monkeypatch.setattr(ablation, "score", lambda *a, **k: begun.append("score") or score(*a, **k))
    again = make(study, Panel(left_out={"clip": "no weights"}), say=lambda line: None)
    assert begun == [] and [m.scores for m in again] == [m.scores for m in measured]
    make(replace(study, points=300), Panel(), say=lambda line: None)
    assert begun == ["score", "score"]


def test_repeats_are_runs_with_other_seeds_and_give_a_spread(study, measured):
    """The first is the run without repeats, which is not done again."""
    twice = replace(study, rows=("noise-10",), repeats=2)
    said = []
    (noisy,) = make(twice, Panel(), say=said.append)
    first, second = noisy.values("psnr")
    assert [first] == measured[1].values("psnr") and first != second
    assert {path.name for path in study.folder.iterdir()} >= {"noise-10", "noise-10+43"}
    mean, deviation = (first + second) / 2, abs(first - second) / 2**0.5
    table = tables(twice, [noisy])["table5"]
    assert table.rows[0][table.columns.index("PSNR↑")] == f"{mean:.2f} ± {deviation:.2f}"
    assert "Mean ± sample standard deviation (divisor n - 1) over 2 seeds, 42 to 43." in table.notes
    assert said == ["noise-10: lizard (seed 42) is done", "noise-10: lizard (seed 43) is done"]


def test_the_true_mesh_is_each_clips_template(study, tmp_path):
    """Up to the size and place that every exported mesh is brought to."""
    truths = tuple(EXAMPLES / "truth" / f"{name}.npz" for name in ("bird", "octopus"))
    clips = tuple(Path(f"{truth.stem}.mp4") for truth in truths)
    some = replace(study, clips=clips, truths=truths, folder=tmp_path, table=2, rows=("naive-template", "template"))
    for row in some.chosen():
        assert cannot_run(some, row) == ""
        assert "needs --truth" in cannot_run(replace(some, truths=()), row)
        for job, truth in zip(ablation._jobs(some, row), truths, strict=True):
            assert job.naive == (row.key == "naive-template")
            given, true = read_glb(job.settings.generator.template).mesh, load_truth(truth).mesh
            assert len(given.faces) == len(true.faces)
            spans = [mesh.vertices.amax(0) - mesh.vertices.amin(0) for mesh in (given, true)]
            torch.testing.assert_close(spans[0] / spans[0].max(), spans[1] / spans[1].max(), atol=1e-3, rtol=0)
    notes = tables(some, [Measured(row) for row in some.chosen()])["table2"].notes
    assert not any("generator template" in note for note in notes)  # the rows name it


def test_rows_that_cannot_run_or_fail_lose_no_other(study, measured, monkeypatch):
    def failing(video, settings, output):
        raise V2M4Error("The disk is full.")
        yield

    settings = changed(study.settings, {"camera.stereo.enabled": True})
    three = replace(study, settings=settings, table=3, rows=("final", "vggt"), folder=study.folder / "three")
    monkeypatch.setattr(batch, "reconstruct", failing)
    final, vggt = make(three, Panel(), say=lambda line: None)
    assert "The disk is full." in final.problem
    assert "vggt cannot run here" in vggt.problem
    rows = tables(three, [final, vggt])["table3"]
    assert "Final: lizard: The disk is full." in rows.notes  # a full stop, and one
    assert rows.rows[0][1:5] == ("–",) * 4 and any("The disk is full." in note for note in rows.notes)


def test_rows_of_equal_settings_share_their_runs(study):
    rows = {row.key: row for table in TABLES.values() for row in table}
    assert {folder_key(study, rows[key]) for key in ("final", "original", "search-1", "vggt")} == {"final", "vggt"}
    assert folder_key(study, rows["naive-inflate"]) != folder_key(study, rows["inflate"])


def test_rows_that_would_change_nothing_say_so(study):
    refine = next(row for row in TABLES[4] if row.key == "refine-0.1")
    assert "has no refinement" in cannot_run(replace(study, table=4), refine)


def test_what_does_not_exist_is_named():
    base = Study(3, (Path("a.mp4"),), Path("out"), Settings())
    for study, said in (
        (replace(base, table=7), "no table 7"),
        (replace(base, rows=("final", "magic")), "no row magic. It has: final"),
        (replace(base, clips=()), "at least one clip"),
        (replace(base, truths=(Path("t"), Path("u"))), "1 clips need as many of --truth"),
    ):
        with pytest.raises(V2M4Error, match=said):
            study.chosen()


def test_a_clip_or_a_folder_that_cannot_be_is_told_before_anything_runs(study, tmp_path, monkeypatch):
    monkeypatch.setattr(ablation, "do_all", lambda *_, **__: pytest.fail("begun"))
    (tmp_path / "file").touch()
    for changed_study, said in (
        (replace(study, clips=(*study.clips, tmp_path / "nowhere.mp4")), "There is no file or folder .*nowhere.mp4"),
        (replace(study, folder=tmp_path / "file"), "Cannot write .*file"),
    ):
        with pytest.raises(V2M4Error, match=said):
            make(changed_study, Panel())


def test_every_clip_and_every_seed_has_a_folder_of_its_own(study):
    """Also clips of one name in folders of one name; and a seed's folder does not depend on where a study begins."""
    clips = tuple(Path(name) for name in ("x/a/c.mp4", "y/a/c.mp4", "y/a/c.mov", "d.mp4"))
    assert ablation._names(clips) == ["a-c-1", "a-c-2", "a-c-3", "d"]
    row = study.chosen()[0]
    later = replace(study, settings=changed(study.settings, {"seed": 43}))
    assert [ablation._folder(later, row, seed) for seed in (42, 43)] == [
        ablation._folder(study, row, seed) for seed in (42, 43)
    ]
    assert len({ablation._folder(later, row, seed) for seed in (42, 43)}) == 2


def test_a_fault_in_measuring_a_row_loses_no_other(study, measured, monkeypatch):
    monkeypatch.setattr(ablation, "score", lambda *_, **__: 1 / 0)
    rows = make(replace(study, points=301), Panel(), say=lambda line: None)
    assert all("a fault in v2m4 (ZeroDivisionError" in row.problem for row in rows) and len(rows) == 2


def test_a_truth_that_is_not_there_is_told_before_anything_runs(study, tmp_path):
    with pytest.raises(V2M4Error, match=r"There is no file .*nowhere.npz"):
        make(replace(study, truths=(tmp_path / "nowhere.npz",), folder=tmp_path / "out"), Panel())
    assert not list(tmp_path.iterdir())


def test_the_command_lists_rows_and_refuses_numbers_that_are_not_there(capsys, tmp_path):
    assert main(["ablate", "clip.mp4", "--table", "5", "--list"]) == 0
    assert "noise-10" in capsys.readouterr().out
    code = main(["ablate", str(tmp_path), "--table", "3", "--dataset", "all", "-o", str(tmp_path / "out")])
    assert code == 2 and "simple set only" in capsys.readouterr().err
