"""The `v2m4` command. Its options are generated from the settings, so the two cannot drift apart."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

import v2m4
from v2m4.commands import ablate, actionbench, evaluate, render
from v2m4.errors import Problems, RunStoppedError, V2M4Error
from v2m4.settings import Settings, fields_of

EXIT_OK, EXIT_PROBLEM, EXIT_STOPPED = 0, 2, 130
_SHORTHANDS = {
    "--generator": "--generator.name",
    "--generator.url": "--generator.http.url",
    "--template": "--generator.template",
}
_SHORTHANDS |= {f"--{name}": f"--video.{name}-s" for name in ("start", "end")}


@dataclass(frozen=True)
class Reconstruct:
    """Turn a video of a moving object into an animated, textured mesh (DIR/animation.glb).

    VIDEO is an mp4, webm, mov or gif, or a folder or zip of pictures. With --template MESH the video animates your own
    mesh. A run that was interrupted goes on where it stopped when the same command is given again. Several videos, or
    a quoted pattern such as "clips/*.mp4", each get a folder of their name in DIR; --ray spreads them over a cluster.
    """

    video: tyro.conf.Positional[tuple[Path, ...]]
    """The video, or a folder or zip of frames; or several."""
    settings: Annotated[Settings, tyro.conf.arg(name="")]
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
        return _dispatch(words[0], words[1:])
    except V2M4Error as problem:
        print(f"v2m4: {problem}", file=sys.stderr)
        return EXIT_STOPPED if isinstance(problem, RunStoppedError) else EXIT_PROBLEM
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
    words = [_long_form(word) for word in words]
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
    else:
        from v2m4.doctor import examine, report

        findings = examine()
        print(json.dumps(findings, indent=1) if options.json else report(findings))
    return EXIT_OK


def _parse(kind: type[Any], command: str, words: list[str], default: Any = None) -> Any:
    extra = {} if default is None else {"default": default}
    return tyro.cli(kind, prog=f"v2m4 {command}", args=words, **extra)


def _long_form(word: str) -> str:
    """Short option names for what newcomers use most."""
    name, equals, value = word.partition("=")
    return _SHORTHANDS.get(name, name) + equals + value


def _reconstruct(words: list[str]) -> int:
    from v2m4.console import watch
    from v2m4.ownership import refuse_in_work
    from v2m4.pipeline import decide
    from v2m4.studies.batch import Job, expand

    problems = Problems()
    words = _allowed(words, problems)
    words, base, file = _base_settings(words, problems)
    default = Reconstruct(video=tyro.MISSING, settings=base)
    try:
        options: Reconstruct = _parse(Reconstruct, "reconstruct", words, default)
    except SystemExit:
        if problems:
            print(f"v2m4: {' '.join(problems.sentences)}", file=sys.stderr)
        raise
    videos = expand(options.video)
    if not videos:
        raise V2M4Error("Name a video, or a folder of frames: v2m4 reconstruct VIDEO -o DIR")
    if len(videos) > 1 or videos != list(options.video) or options.ray is not None:
        problems.refuse()
        return _reconstruct_many(videos, options)
    output = options.output or Path("output") / videos[0].stem
    if file is not None:
        with problems:
            refuse_in_work(output, "settings file", file)
    if problems:
        with problems:
            decide(output, videos[0], options.settings)
        problems.refuse()
    finished = watch(Job(videos[0], options.settings, output, options.baseline).events(), quiet=options.quiet)
    print(finished.files["frames" if options.baseline else "glb"])
    return EXIT_OK


def _reconstruct_many(videos: list[Path], options: Reconstruct) -> int:
    """Each clip into a folder of its name; prints the results' paths. EXIT_PROBLEM if any clip has none."""
    from v2m4.console import watch
    from v2m4.studies.batch import do_all, jobs_for

    jobs = jobs_for(videos, options.settings, options.output or Path("output"), naive=options.baseline)
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
    words, base, _ = _base_settings(_allowed(words, problems), problems)
    default = ablate.Ablate(clips=tyro.MISSING, settings=base)
    options: ablate.Ablate = _parse(ablate.Ablate, "ablate", words, default)
    problems.refuse()
    return ablate.run(options)


def _allowed(words: list[str], problems: Problems) -> list[str]:
    """The words without options whose value their setting does not allow, which are ``problems``."""
    from v2m4.recipe import file_problem, name_problem

    options = {f"--{field.name.replace('_', '-')}": field for field in fields_of(Settings)}
    allowed, queue = [], list(words)
    while queue:
        word = queue.pop(0)
        name, equals, value = word.partition("=")
        field = options.get(name.replace("_", "-"))
        if field is None or field.kind is bool or not (equals or queue):
            allowed.append(word)
            continue
        taken = [word] if equals else [word, queue.pop(0)]
        parsed = field.parsed(value if equals else taken[1])
        sentence = field.problem(parsed) or name_problem(field, parsed) or file_problem(field, parsed)
        if sentence is None:
            allowed += taken
        else:
            problems.add(sentence)
    return allowed


def _base_settings(words: list[str], problems: Problems) -> tuple[list[str], Settings, Path | None]:
    """Take ``--settings FILE`` and ``--preset NAME`` out: they decide the defaults of all other options."""
    rest: list[str] = []
    file: Path | None = None
    settings: Settings | None = None
    preset: str | None = None
    queue = list(words)
    while queue:
        name, equals, value = queue.pop(0).partition("=")
        if name not in ("--settings", "--preset"):
            rest.append(name + equals + value)
            continue
        if not equals:
            if not queue:
                raise V2M4Error(f"{name} needs a value.")
            value = queue.pop(0)
        if name == "--preset":
            preset = value
        else:
            file = Path(value)
            with problems:
                settings = _read_settings(file)
    if settings is None:
        with problems:
            settings = Settings.of(preset or "fast")  # type: ignore[arg-type]
    elif preset is not None and preset != settings.preset:
        raise V2M4Error("Give either --settings or --preset: a settings file already says everything a preset does.")
    return rest, settings or Settings(), file


def _read_settings(path: Path) -> Settings:
    try:
        return Settings.from_json(path.read_text())
    except OSError as error:
        raise V2M4Error(f"Cannot read the settings file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise V2M4Error(f"The settings file {path} is not text. Give a settings.json of an earlier run.") from error


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
