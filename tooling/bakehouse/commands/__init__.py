"""The commands, one module for each group. A command parses, calls, and returns a result."""
