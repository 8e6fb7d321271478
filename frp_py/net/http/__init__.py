"""HTTP as both programs need it: heads, framing, and the rules of a proxy. No I/O."""
