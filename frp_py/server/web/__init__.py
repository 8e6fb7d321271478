"""The web API of the server, its metrics, and what the dashboard shows (behaviour.md 11.2, 11.3, 14)."""
