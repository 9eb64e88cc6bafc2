"""The generator `http`: the keyframe goes to a mesh server, a mesh comes back."""

from __future__ import annotations

import io

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from v2m4.errors import V2M4Error
from v2m4.generators import Generated
from v2m4.generators.http.address import Target, parse
from v2m4.generators.http.answer import mesh_from_bytes
from v2m4.generators.http.client import Bounds, Question, ask, call_on, form_with_image
from v2m4.settings import GeneratorSettings, Settings


def server_of(settings: GeneratorSettings) -> Target:
    """The server that the settings name. Raises V2M4Error if they name none."""
    if not settings.http.url:
        raise V2M4Error(
            "The generator “http” asks a mesh server. Give its address, for example "
            "--generator.http.url http://127.0.0.1:8080"
        )
    return parse(settings.http.url)


def check_settings(settings: Settings) -> None:
    """Raise V2M4Error if a run's settings name no server."""
    server_of(settings.generator)


def check_server(settings: Settings) -> None:
    """Raise V2M4Error if nobody listens where a run's settings say."""
    call_on(server_of(settings.generator), bounds_of(settings.generator))


def bounds_of(settings: GeneratorSettings) -> Bounds:
    """How long and how much a server may answer."""
    return Bounds(settings.http.timeout_s, settings.http.megabytes, settings.http.retries)


class HttpGenerator:
    """Asks the server at ``generator.http.url``, in the form of trellis.cpp's server or in a plain one.

    Fulfils the `Generator` protocol; the mesh keeps the texture or colours that it came with.
    """

    def __init__(self, settings: GeneratorSettings) -> None:
        """Raises V2M4Error if the settings name no server."""
        self.settings = settings
        self.http = settings.http
        self.max_faces = settings.max_faces
        self.target = server_of(settings)

    @classmethod
    def from_settings(cls, settings: Settings, device: torch.device) -> HttpGenerator:
        """The plug for a run's settings."""
        return cls(settings.generator)

    @property
    def path(self) -> str:
        """What is posted to: trellis.cpp's server has one path; in the plain form the address says it."""
        if self.http.form == "trellis.cpp" and self.target.path in ("", "/"):
            return "/generate"
        return self.target.path or "/"

    def question(self, reference: NDArray[np.uint8], seed: int) -> Question:
        """What is posted for a picture (S, S, 4) uint8 RGBA with straight alpha."""
        buffer = io.BytesIO()
        Image.fromarray(reference, "RGBA").save(buffer, "PNG")
        if self.http.form == "trellis.cpp":
            return form_with_image(buffer.getvalue(), {"seed": str(seed)})
        headers = {"Content-Type": "image/png", "X-Seed": str(seed), "X-Max-Faces": str(self.max_faces)}
        return Question(buffer.getvalue(), headers)

    def __call__(
        self, reference: NDArray[np.uint8], rng: torch.Generator, device: torch.device | str = "cpu"
    ) -> Generated:
        """The server's mesh of the object in `reference`, in canonical pose, within the face budget.

        Raises V2M4Error if the server may not or cannot be asked, or sends no usable mesh.
        """
        seed = int(torch.randint(2**31 - 1, (), generator=rng, device=rng.device))
        body = ask(self.target, self.path, self.question(reference, seed), bounds_of(self.settings))
        return Generated(mesh_from_bytes(body, self.max_faces).to(device))
