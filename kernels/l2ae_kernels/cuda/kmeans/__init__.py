"""k-means on a device: launchers of the kernels, and the state of several Lloyd runs there."""
