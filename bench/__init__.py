"""How fast the tunnel is on this machine: `python -m bench --help`."""
