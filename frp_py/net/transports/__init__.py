"""How a link is carried."""
