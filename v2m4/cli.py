"""The `v2m4` command. Its options come from the settings, so the two cannot drift apart."""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import v2m4
from v2m4.commands import ablate, actionbench, evaluate, render
from v2m4.commands.options import ListSettings, common_settings, gathered, listed, read_settings
from v2m4.errors import Problems, RunStoppedError, V2M4Error
from v2m4.interrupts import heeded
from v2m4.settings import Settings

EXIT_OK, EXIT_PROBLEM, EXIT_STOPPED = 0, 2, 130


@dataclass(frozen=True)
class Reconstruct:
    """Turn a video of a moving object into an animated, textured mesh (DIR/animation.glb).

    VIDEO is an mp4, webm, mov or gif, or a folder or zip of pictures. With --template MESH the video animates your own
    mesh. A run that was interrupted goes on where it stopped when the same command is given again. Several videos, or
    a quoted pattern such as "clips/*.mp4", each get a folder of their name in DIR; --ray spreads them over a cluster.
    """

    video: tyro.conf.Positional[tuple[Path, ...]]
    """The video, or a folder or zip of frames; or several."""
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None
    """Folder for the results; output/<name of the video> if absent. Of several videos: for their folders."""
    baseline: bool = False
    """The paper's naive baseline instead: a mesh per frame as the generator makes it; no search, no refinement, no
    registration."""
    ray: str | None = None
    """Spread several videos over a Ray cluster: its address, auto for one that runs, local for one on this machine."""
    quiet: Annotated[bool, tyro.conf.arg(aliases=["-q"])] = False
    """Print nothing but problems and the result's path."""


@dataclass(frozen=True)
class Doctor:
    """List what can run on this machine, what cannot, and how to bring what is missing."""

    json: bool = False
    """Print as JSON."""


@dataclass(frozen=True)
class Download:
    """Fetch the weights of learned plugs, with a progress bar, and check them. Without a name: list those plugs."""

    plugs: tyro.conf.Positional[tuple[str, ...]] = ()
    """Names of plugs, for example triposr."""


_COMMANDS: dict[str, type[Any]] = {
    "reconstruct": Reconstruct,
    "render": render.Render,
    "evaluate": evaluate.Evaluate,
    "ablate": ablate.Ablate,
    "doctor": Doctor,
    "download": Download,
    "settings": ListSettings,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 done, 2 a problem the user can mend, 130 stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["--version"], ["-V"]):
        print(f"v2m4 {v2m4.__version__}")
        return EXIT_OK
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return EXIT_OK if words else EXIT_PROBLEM
    try:
        with heeded():
            return _dispatch(words[0], words[1:])
    except V2M4Error as problem:
        print(f"v2m4: {problem}", file=sys.stderr)
        return EXIT_STOPPED if isinstance(problem, RunStoppedError) else EXIT_PROBLEM
    except BrokenPipeError:  # whoever read our words has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PROBLEM
    except OSError as problem:
        place = f" ({problem.filename})" if problem.filename else ""
        print(f"v2m4: {problem.strerror or problem}{place}. Check permissions and free space.", file=sys.stderr)
        return EXIT_PROBLEM
    except KeyboardInterrupt:
        print("v2m4: stopped. Give the same command again to go on.", file=sys.stderr)
        return EXIT_STOPPED


def _overview() -> str:
    lines = [
        "usage: v2m4 COMMAND ...",
        "",
        "From one video of a moving object to an animated, textured mesh (GLB).",
        "",
    ]
    for name, kind in _COMMANDS.items():
        lines.append(f"  {name:12} {(kind.__doc__ or '').strip().splitlines()[0]}")
    lines += ["", "  v2m4 COMMAND --help   explains a command", "  v2m4 --version", ""]
    lines += ["Example: v2m4 reconstruct clip.mp4 -o output/clip"]
    return "\n".join(lines)


def _dispatch(command: str, words: list[str]) -> int:
    if command not in _COMMANDS:
        raise V2M4Error(f"There is no command “{command}”. Choose one of: {', '.join(_COMMANDS)}.")
    if command == "reconstruct":
        return _reconstruct(words)
    if command == "ablate":
        return _ablate(words)
    if (command, words[:1]) == ("evaluate", ["actionbench"]):
        return actionbench.run(_parse(actionbench.ActionBench, "evaluate actionbench", words[1:]))
    options = _parse(_COMMANDS[command], command, words)
    if command == "render":
        render.run(options)
    elif command == "evaluate":
        evaluate.run(options)
    elif command == "download":
        _download(options)
    elif command == "settings":
        print(listed(options))
    else:
        from v2m4.doctor import examine, report

        findings = examine()
        print(json.dumps(findings, indent=1) if options.json else report(findings))
    return EXIT_OK


def _parse(kind: type[Any], command: str, words: list[str]) -> Any:
    return tyro.cli(kind, prog=f"v2m4 {command}", args=gathered(kind, words))


def _parse_with_settings(
    kind: type[Any], command: str, words: list[str], problems: Problems
) -> tuple[Any, Settings, Path | None]:
    """The command's own options, the settings, and the file that --settings named."""
    if {"-h", "--help"} & set(words):
        try:
            _parse(kind, command, ["--help"])
        finally:
            print(common_settings())
    words, settings, file = read_settings(words, kind, problems)
    try:
        return _parse(kind, command, words), settings, file
    except SystemExit:
        if problems:
            print(f"v2m4: {' '.join(problems.sentences)}", file=sys.stderr)
        raise


@contextmanager
def nothing_collected() -> Iterator[None]:
    """No search for garbage inside the block, nor later among what it made: imports make half a million objects that
    stay, and looking through them again and again takes a sixth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _reconstruct(words: list[str]) -> int:
    problems = Problems()
    options: Reconstruct
    options, settings, file = _parse_with_settings(Reconstruct, "reconstruct", words, problems)

    with nothing_collected():
        from v2m4.kernels import compile_beside

        compile_beside()  # beside the imports too
        from v2m4.console import watch
        from v2m4.ownership import refuse_in_work
        from v2m4.pipeline import decide
        from v2m4.studies.batch import Job, expand

    videos = expand(options.video)
    if not videos:
        raise V2M4Error("Name a video, or a folder of frames: v2m4 reconstruct VIDEO -o DIR")
    if len(videos) > 1 or videos != list(options.video) or options.ray is not None:
        problems.refuse()
        return _reconstruct_many(videos, options, settings)
    output = options.output or Path("output") / videos[0].stem
    if file is not None:
        with problems:
            refuse_in_work(output, "settings file", file)
    if problems:
        with problems:
            decide(output, videos[0], settings)
        problems.refuse()
    finished = watch(Job(videos[0], settings, output, options.baseline).events(), quiet=options.quiet)
    print(finished.files["frames" if options.baseline else "glb"])
    return EXIT_OK


def _reconstruct_many(videos: list[Path], options: Reconstruct, settings: Settings) -> int:
    """Each clip into a folder of its name; prints the results' paths. EXIT_PROBLEM if any clip has none."""
    from v2m4.console import watch
    from v2m4.files import make_writable
    from v2m4.studies.batch import do_all, jobs_for

    folder = options.output or Path("output")
    jobs = jobs_for(videos, settings, folder, naive=options.baseline)
    make_writable(folder)
    failed = 0
    for outcome in do_all(jobs, lambda events: watch(events, quiet=options.quiet), options.ray):
        if outcome.problem:
            failed += 1
            print(f"v2m4: {outcome.job.video}: {outcome.problem}", file=sys.stderr)
        else:
            print(outcome.files["frames" if options.baseline else "glb"])
    if failed:
        print(f"v2m4: {failed} of {len(jobs)} clips have no result; the others are finished.", file=sys.stderr)
    return EXIT_PROBLEM if failed else EXIT_OK


def _ablate(words: list[str]) -> int:
    problems = Problems()
    options, settings, _ = _parse_with_settings(ablate.Ablate, "ablate", words, problems)
    problems.refuse()
    return ablate.run(options, settings)


def _download(options: Download) -> None:
    from v2m4.download import download, learned
    from v2m4.plugs import PORTS
    from v2m4.provision import require

    offered = learned(PORTS)
    if not options.plugs:
        for plug in offered.values():
            state = "to bring" if plug.absent_weights() else "here"
            restricted = f"; {plug.restriction}" if plug.restriction else ""
            print(f"{plug.name:18} {state:9} {plug.size_gb:4g} GB  {plug.summary} ({plug.licence}{restricted})")
        return
    for name in options.plugs:
        if name not in offered:
            known = any(name in plugs for plugs in PORTS.values())
            reason = f"“{name}” needs no weights." if known else f"There is no learned plug called “{name}”."
            raise V2M4Error(f"{reason} Choose from: {', '.join(offered)}.")
        plug = offered[name]
        restricted = f" ({plug.restriction})" if plug.restriction else ""
        print(f"{name}: {plug.size_gb:g} GB. Licence: {plug.licence}{restricted}", flush=True)
        require(plug)
        download(plug, print)


if __name__ == "__main__":
    sys.exit(main())
