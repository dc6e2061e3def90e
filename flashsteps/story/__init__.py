"""The words: what each step of a run is called, and what is worth telling of it, for films, player and terminal."""
