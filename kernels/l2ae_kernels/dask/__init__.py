"""k-means over the chunks of a Dask array, each worked on where it lies.

Dask is imported here alone, and this package only where an array of Dask is met. Sums, counts and
potentials travel; samples do not, but for rows that are drawn as centers.
"""
