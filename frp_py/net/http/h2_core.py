"""What all that serves users of HTTP/2 has in common: settings, and how much of nothing a user may ask for."""

from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import PingReceived, PriorityUpdated, RemoteSettingsChanged, UnknownFrameReceived
from h2.settings import SettingCodes, Settings

from frp_py.net.http.heads import MAX_HEAD

READ = 16 * 1024
"""Bytes dealt with at a time: of the smallest frames, these keep us busy for 50 ms."""

IDLE = (PingReceived, RemoteSettingsChanged, PriorityUpdated, UnknownFrameReceived)
"""Events that ask for nothing, as empty frames of data do."""

IDLE_FRAMES = 1000
"""Such frames within a second, above which a user is sent away."""

_STREAMS = 100


def server_core(*, window: int, shared_window: int) -> H2Connection:
    """A connection whose users may send `window` bytes ahead for each request, and `shared_window` in all."""
    core = H2Connection(H2Configuration(client_side=False, header_encoding=None))
    core.local_settings = Settings(
        client=False,
        initial_values={
            SettingCodes.MAX_CONCURRENT_STREAMS: _STREAMS,
            SettingCodes.INITIAL_WINDOW_SIZE: window,
            SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEAD,
        },
    )
    core.initiate_connection()
    core.increment_flow_control_window(shared_window - 65535)
    return core
