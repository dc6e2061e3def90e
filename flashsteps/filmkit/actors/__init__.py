"""The cast: what can stand on the board, one kind a file. Each is plain data that draws itself into a box."""
