"""The functions that applications call, and the reference of them."""
