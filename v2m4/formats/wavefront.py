"""OBJ and MTL files as other programs leave them, put into the plain form that trimesh reads.

After Wavefront's object and material formats (Advanced Visualizer manual, appendix B, and the MTL specification, 1995),
and what has become usual since: colours behind the vertices, names with spaces, any encoding, paths of other machines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from v2m4.arrays import Float32, Float64
from v2m4.formats.beside import decode_picture, find_beside
from v2m4.formats.gltf.surface import CLAMP, repeating

# How many values follow each option of a map; -o, -s and -t take up to three.
_OPTIONS = {"-blendu": 1, "-blendv": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-texres": 1, "-bm": 1, "-boost": 1}
_OPTIONS |= {"-mm": 2, "-type": 1}
_TRIPLES = ("-o", "-s", "-t")


def decode_text(data: bytes) -> str:
    """Text in whichever encoding it is: by its mark, else UTF-8, else Latin-1, which fits any bytes."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


@dataclass(frozen=True)
class Wrapped:
    """A material. diffuse: (3,) sRGB in [0,1]. picture: (H,W,3), laid by uv * scale + offset, its border carried on
    outside the unit square if ``clamped``. lacks_picture: it names one that is not there."""

    diffuse: Float64 | None = None
    picture: Float32 | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    clamped: bool = False
    lacks_picture: bool = False

    def laid(self, uv: Float64) -> tuple[Float32, Float64]:
        """The picture and the coordinates (N,2), v up, as the map's options lay them."""
        assert self.picture is not None
        picture, moved = self.picture, uv * self.scale + self.offset
        if self.clamped:
            moved = np.column_stack([moved[:, 0], 1 - moved[:, 1]])
            for axis in (0, 1):
                picture, moved = repeating(picture, moved, axis, CLAMP)
            moved = np.column_stack([moved[:, 0], 1 - moved[:, 1]])
        return picture, moved


@dataclass
class ObjText:
    """An OBJ file's geometry, as UTF-8 with one plain material library, and its materials by name."""

    data: bytes
    materials: dict[str, Wrapped] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    LIBRARY = "materials.mtl"

    @classmethod
    def of(cls, data: bytes, folder: Path | None, what: str) -> ObjText:
        """From an OBJ file's content, the material libraries in ``folder`` that it names, and their textures. what: how
        warnings call the file."""
        text = decode_text(data).replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ").replace("\t", " ")
        out = cls(b"")
        kept, libraries = [], []
        for line in text.split("\n"):
            word, _, rest = line.strip().partition(" ")
            if word == "mtllib":
                libraries.append(rest.strip())
            elif word and not word.startswith("#"):
                kept.append(f"{word} {rest.strip()}" if word == "usemtl" else line.strip())
        for names in dict.fromkeys(libraries):
            out._add_libraries(folder, names, what)
        kept = out._with_materials(kept, what) if out.materials else kept
        out.data = "\n".join([f"mtllib {cls.LIBRARY}", *_absolute(kept)]).encode()
        return out

    @property
    def named(self) -> dict[str, bytes]:
        """What the text refers to: the material library in its plain form, which holds names only."""
        return {self.LIBRARY: "".join(f"newmtl {name}\nKd 1 1 1\n" for name in self.materials).encode()}

    def _with_materials(self, lines: list[str], what: str) -> list[str]:
        """The lines with every material called as its library does, which may write it in other cases."""
        by_case = {name.casefold(): name for name in reversed(self.materials)}
        out, unknown = [], dict[str, None]()
        for line in lines:
            word, _, name = line.partition(" ")
            if word == "usemtl" and name and name not in self.materials:
                meant = by_case.get(name.casefold())
                if meant is None:
                    unknown[name] = None
                line = line if meant is None else f"usemtl {meant}"
            out.append(line)
        for name in unknown:
            self.warnings.append(
                f"The material “{name}” of the {what} is in none of its material files, so its colours and textures "
                "are left out. Export both again together."
            )
        return out

    def _add_libraries(self, folder: Path | None, names: str, what: str) -> None:
        """One library whose name may hold spaces, or several."""
        for name in [names] if find_beside(folder, names) is not None else names.split():
            found = find_beside(folder, name)
            if found is None:
                self.warnings.append(
                    f"The material file “{name}” of the {what} is not there, so its colours and textures are left out. "
                    "Put it beside the file that names it."
                )
                continue
            for material, lines in _sections(decode_text(found.read_bytes())).items():
                self.materials[material] = self._material(material, lines, found, what)

    def _material(self, name: str, lines: dict[str, str], library: Path, what: str) -> Wrapped:
        diffuse = None
        if "kd" in lines:
            words = lines["kd"].split()[:3]
            # Colours by spectral curves or as CIE XYZ, which nobody writes, count as none.
            values = [float(word) for word in words] if all(map(_is_number, words)) else []
            diffuse = np.clip(np.resize(values, 3), 0, 1) if values else None
        if "map_kd" not in lines:
            return Wrapped(diffuse)
        options, file = split_map(lines["map_kd"])
        found = find_beside(library.parent, file)
        try:
            if found is None:
                raise ValueError("it is not there")
            picture = decode_picture(found.read_bytes())
        except (ValueError, OSError) as error:
            self.warnings.append(
                f"The texture “{file}” of the material “{name}” of the {what} is left out: {error}. Put it beside "
                f"{library.name}, as PNG or JPEG."
            )
            return Wrapped(diffuse, lacks_picture=True)
        scale, offset = _pair(options.get("-s"), 1.0), _pair(options.get("-o"), 0.0)
        return Wrapped(diffuse, picture, scale, offset, options.get("-clamp") == ["on"])


def split_map(value: str) -> tuple[dict[str, list[str]], str]:
    """The options of a map's line with their values, and the file's name, which may hold spaces."""
    words = re.split(r"(\s+)", value.strip())  # every second one is white space
    options: dict[str, list[str]] = {}
    at = 0
    while at < len(words) and words[at].lower() in (*_OPTIONS, *_TRIPLES):
        option = words[at].lower()
        values: list[str] = []
        at += 2
        while at < len(words) and len(values) < _OPTIONS.get(option, 3):
            if option in _TRIPLES and not _is_number(words[at]):
                break
            values.append(words[at])
            at += 2
        options[option] = values
    return options, "".join(words[at:]).strip().strip('"')


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _pair(values: list[str] | None, default: float) -> tuple[float, float]:
    numbers = [float(v) for v in values or ()] + [default] * 2
    return numbers[0], numbers[1]


def _sections(text: str) -> dict[str, dict[str, str]]:
    """The lines of an MTL file by material and by lower-case keyword."""
    out: dict[str, dict[str, str]] = {}
    current: dict[str, str] = {}
    for line in text.replace("\r", "\n").split("\n"):
        words = line.strip().split(None, 1)
        if len(words) < 2 or words[0].startswith("#"):
            continue
        if words[0].lower() == "newmtl":
            current = out.setdefault(words[1].strip(), {})
        else:
            current[words[0].lower()] = words[1]
    return out


def _absolute(lines: list[str]) -> list[str]:
    """The lines with every face's corners counted from the file's start: negative ones count back from where they
    stand."""
    counts = {"v": 0, "vt": 0, "vn": 0}
    out = []
    for line in lines:
        word = line.split(None, 1)[0]
        if word in counts:
            counts[word] += 1
        elif word == "f" and "-" in line:
            order = (counts["v"], counts["vt"], counts["vn"])
            corners = [
                "/".join(_counted(n, count) for n, count in zip(corner.split("/"), order, strict=False))
                for corner in line.split()[1:]
            ]
            out.append("f " + " ".join(corners))
            continue
        out.append(line)
    return out


def _counted(number: str, count: int) -> str:
    return str(count + 1 + int(number)) if number.startswith("-") else number
