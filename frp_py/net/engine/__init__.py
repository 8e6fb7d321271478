"""The data plane: everything that user bytes go through."""
