"""A long run of both programs under everything that goes wrong in practice: `python -m tests.soak --help`."""
