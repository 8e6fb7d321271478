"""frps: the server."""
