"""Answers HTTP requests that come over streams, in a task for each connection: for what is not in the way of many users."""
