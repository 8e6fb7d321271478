"""The ports that many proxies share: users are told apart by name."""
