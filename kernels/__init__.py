"""Triton kernels of attention, and the recorder that proves them against the traces of the NumPy reference."""
