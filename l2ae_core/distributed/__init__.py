"""Images on the workers of Dask (extra `dist`): imported only where somebody has a Dask array."""
