"""q, k and v, from wherever they come: the bundled head of a real model, strangers' files, random numbers, arrays."""
