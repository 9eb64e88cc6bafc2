"""Foreground masks: the port, and the plugs that fill it."""

from __future__ import annotations

from v2m4.registry import Plug

MATTINGS: dict[str, Plug] = {}
