"""A run as plain data: its events and values, how they are replayed and added up, and the files that hold them."""
