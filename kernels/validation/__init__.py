"""The kernels held against the reference: the same loads and stores, and numbers as close as they have to be."""
