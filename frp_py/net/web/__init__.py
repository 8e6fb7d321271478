"""The dashboards' and admin APIs' web server. Nothing of it is imported without a `webServer.port`."""
