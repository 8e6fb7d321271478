"""The errors that are expected, below every storey; whatever else is raised is a bug."""


class FrpError(Exception):
    """Something outside this program is not as it should be; `str()` is a sentence for people."""


class ConfigError(FrpError):
    """A configuration can't be used; the text names the file and the key."""


class PeerError(FrpError):
    """The other side broke a rule of the protocol; the text says which. Its link ends."""


class Refused(FrpError):
    """A request of the other side is turned down; the text is what it is told."""
