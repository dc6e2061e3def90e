"""What the kernels are compiled for: GPUs, and the tiles that each of them takes."""
