"""The two versions of this program."""

__version__ = "0.1.0"
"""Our own release."""

FRP_VERSION = "0.70.1"
"""The frp release whose protocol, files and texts we follow: told to peers and printed by `--version`,
because scripts compare it."""
