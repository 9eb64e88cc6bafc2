"""The page's endpoints as tools, called by a real MCP client over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.ui.conftest import Served
from v2m4.ui.uploads import own_upload

mcp = pytest.importorskip("mcp")
pytestmark = [pytest.mark.timeout(120), pytest.mark.xdist_group("page")]


async def _session(url: str, talk: Any) -> Any:
    from mcp.client.streamable_http import streamable_http_client

    async with (
        streamable_http_client(f"{url}gradio_api/mcp/") as (read, write, _),
        mcp.ClientSession(read, write) as session,
    ):
        await session.initialize()
        return await talk(session)


def test_an_agent_lists_the_tools_hands_over_a_file_and_gets_the_model(served: Served) -> None:
    with served.clip.open("rb") as stream:
        (path,) = httpx.post(f"{served.url}gradio_api/upload", files={"files": stream}).json()
    told: list[str] = []

    async def talk(session: Any) -> tuple[Any, Any]:
        async def progress(progress: float, total: float | None, message: str | None) -> None:
            told.append(message or "")

        tools = await session.list_tools()
        given = {"video": f"{served.url}gradio_api/file={path}", "preset": "draft"}
        return tools, await session.call_tool("reconstruct", given, progress_callback=progress)

    tools, result = asyncio.run(_session(served.url, talk))
    names = {tool.name for tool in tools.tools}
    assert {"reconstruct", "continue_run", "preview_mask", "run_status"} <= names
    assert not result.isError
    text = " ".join(part.text for part in result.content if part.type == "text")
    assert '"state": "finished"' in text.replace("'", '"') and ".glb" in text
    assert any("Following the motion: Step" in message for message in told)


def test_an_agent_reads_a_sentence_when_something_cannot_be(served: Served) -> None:
    async def talk(session: Any) -> Any:
        return await session.call_tool("run_status", {"run": "nothing"})

    result = asyncio.run(_session(served.url, talk))
    assert result.isError and "no run behind this link" in result.content[0].text


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", ""])
def test_only_uploads_are_taken_by_address(path: str) -> None:
    assert own_upload(f"http://127.0.0.1/gradio_api/file={path}") is None
