"""The viewer: reconstructions beside each other as one HTML page that asks the network for nothing."""

from __future__ import annotations

from laminar.viewer.page import page
from laminar.viewer.scans import Beside, gather
from laminar.viewer.server import Server
from laminar.viewer.volumes import Shown, load, load_reference

__all__ = ["Beside", "Server", "Shown", "gather", "load", "load_reference", "page"]
