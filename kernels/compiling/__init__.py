"""What the compiler makes of the kernels, for GPUs that need not be there."""
