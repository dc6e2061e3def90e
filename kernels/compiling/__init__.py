"""What the kernels are compiled for, with which tiles, and what the compiler makes of them."""
