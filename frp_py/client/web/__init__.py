"""The admin API of frpc: loaded only when `webServer.port` is set."""
