"""Uploads by address: agents hand over what they uploaded as the address that the upload returned."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from gradio.components import Component
from gradio.utils import get_upload_folder

_SERVED = "/gradio_api/file="


def own_upload(address: str) -> str | None:
    """The file on this server that ``address`` (…/gradio_api/file=PATH) names, if it is an upload; else None.

    Fetching one's own address over the network is refused by Gradio's guard against requests to local machines; a
    file that was uploaded here needs no fetching.
    """
    _, marker, name = unquote(urlsplit(address).path).partition(_SERVED)
    if not marker:
        return None
    path, folder = Path(name).resolve(), Path(get_upload_folder()).resolve()
    return str(path) if folder in path.parents and path.is_file() else None


def accept_own_uploads(component: Component) -> Component:
    """The same input, which also takes the address of an upload."""
    fetch = component.async_move_resource_to_block_cache

    async def fetch_or_find(url_or_file_path: str | Path | None) -> str | None:
        return await fetch(own_upload(str(url_or_file_path)) or url_or_file_path)

    component.async_move_resource_to_block_cache = fetch_or_find  # type: ignore[method-assign]
    return component
