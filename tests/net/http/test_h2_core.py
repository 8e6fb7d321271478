from __future__ import annotations

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RemoteSettingsChanged
from h2.settings import SettingCodes

from frp_py.net.http.h2_core import server_core


def test_what_users_are_told() -> None:
    core = server_core(window=1 << 18, shared_window=1 << 20)
    user = H2Connection(H2Configuration(client_side=True))
    user.initiate_connection()
    events = user.receive_data(core.data_to_send())
    [told] = [event for event in events if isinstance(event, RemoteSettingsChanged)]
    changed = {code: setting.new_value for code, setting in told.changed_settings.items()}
    assert (changed[SettingCodes.MAX_CONCURRENT_STREAMS], changed[SettingCodes.INITIAL_WINDOW_SIZE]) == (100, 1 << 18)
    assert changed[SettingCodes.MAX_HEADER_LIST_SIZE] == 65536
    assert user.outbound_flow_control_window == 1 << 20
