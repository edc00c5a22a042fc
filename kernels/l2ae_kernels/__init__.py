"""Kernels of l2ae: a NumPy reference for every operation, and fast implementations beside it."""
