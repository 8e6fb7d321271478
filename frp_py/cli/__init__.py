"""The two processes: arguments, output, signals, exit codes (config.md 4.7 to 5)."""
