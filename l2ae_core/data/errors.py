"""The error of data that cannot be used."""


class DataError(ValueError):
    """A data file is missing, truncated, corrupt or not what its name says; names the file."""
