"""PLY files as other programs leave them: comments in any encoding, textures under names of other machines."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from v2m4.arrays import Float32
from v2m4.formats.beside import decode_picture, find_beside
from v2m4.formats.wavefront import decode_text

MOST_HEADER = 1 << 20  # bytes


@dataclass
class PlyText:
    """A PLY file in which trimesh finds only what it reads, and the texture, if there is one: its bytes
    and, decoded, its picture (H,W,3)."""

    data: bytes
    texture: bytes | None = None
    picture: Float32 | None = None
    warnings: list[str] = field(default_factory=list)

    TEXTURE = "texture"

    @classmethod
    def of(cls, data: bytes, folder: Path | None, what: str) -> PlyText:
        """From a PLY file's content and the texture in ``folder`` that its header names. what: how warnings call it."""
        end = data.find(b"end_header", 0, MOST_HEADER)
        if end < 0:
            raise ValueError("it has no header of a PLY file")
        lines = data[:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        out = cls(b"")
        kept = []
        for line in lines:
            words = line.split(None, 2)
            if not words or words[0] not in (b"comment", b"obj_info"):
                kept.append(line)
            elif len(words) == 3 and words[1].lower() == b"texturefile":
                out._find_texture(decode_text(words[2]).strip(), folder, what)
        if out.texture is not None:
            kept.insert(2, f"comment TextureFile {cls.TEXTURE}".encode())
        # What follows the header's last line starts after that line's own end.
        rest = data[end + len(b"end_header") :]
        rest = rest[2:] if rest[:2] == b"\r\n" else rest[1:]
        out.data = b"\n".join([*(line for line in kept if line.strip()), b"end_header\n"]) + rest
        return out

    @property
    def named(self) -> dict[str, bytes]:
        """What the header refers to: the texture, if there is one."""
        return {} if self.texture is None else {self.TEXTURE: self.texture}

    def _find_texture(self, name: str, folder: Path | None, what: str) -> None:
        found = find_beside(folder, name)
        try:
            if found is None:
                raise ValueError("it is not there")
            data = found.read_bytes()
            self.picture = decode_picture(data)
            self.texture = data
        except (ValueError, OSError) as error:
            self.warnings.append(
                f"The texture “{name}” of the {what} is left out: {error}. Put it beside the file, as PNG or JPEG."
            )
