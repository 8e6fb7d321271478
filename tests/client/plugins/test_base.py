from __future__ import annotations

from importlib import import_module

from frp_py.client.plugins import PLUGINS
from frp_py.client.plugins.base import Plugin
from frp_py.config.plugins import PLUGINS as CONFIGURED


def test_every_configured_type_has_its_plugin() -> None:
    assert set(PLUGINS) == set(CONFIGURED) - {"virtual_net"}
    for place in PLUGINS.values():
        module, _, name = place.partition(".")
        assert issubclass(getattr(import_module(f"frp_py.client.plugins.{module}"), name), Plugin)
