"""What our two programs do better than the protocol asks, when both say in Login and LoginResp that they can."""

HALF_CLOSE = "half-close"
"""Half-closed connections are kept."""

DIRECT = "direct"
"""The server opens work connections itself, as streams of the client's link that begin with StartWorkConn."""
