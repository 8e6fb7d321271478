"""What runs over sockets: the engine, transports, HTTP."""
