"""The functions that applications call, and their reference."""
