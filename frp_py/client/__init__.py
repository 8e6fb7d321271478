"""frpc: the client."""
