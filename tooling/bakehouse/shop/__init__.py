"""The commands that know the bakery: its shops, labels and smoke walk."""
