"""Turns the bytes of peers into messages and events and back: no I/O, no clock, no randomness, no log."""
