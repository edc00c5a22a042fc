"""Kernels in Numba: im2col, tiled, blocked and fused rungs."""
