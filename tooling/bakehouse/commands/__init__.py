"""The commands, a module for each group: parse, call, return a result."""
