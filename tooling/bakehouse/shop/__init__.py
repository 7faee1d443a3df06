"""All that this tool knows of the bakery: its shops, labels and smoke walk."""
