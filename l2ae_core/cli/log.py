"""`--log FILE`: what Python's logging gets from the packages, in a file."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PACKAGES = ("l2ae_core", "l2ae_kernels")
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

_log = logging.getLogger(__name__)


@contextmanager
def logging_to(path: Path | None, argv: Sequence[str]) -> Iterator[None]:
    """Append what the packages log in the block to a file, and how the block ended; None: nowhere.

    OSError, before the block, when the file cannot be written.
    """
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter(FORMAT))
    loggers = {logger: logger.level for logger in map(logging.getLogger, PACKAGES)}
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        _log.info("l2ae %s", " ".join(argv))
        yield
        _log.info("done")
    except BaseException as error:
        notes = getattr(error, "__notes__", [])
        _log.error("%s: %s", type(error).__name__, "; ".join([str(error), *notes]))
        raise
    finally:
        for logger, level in loggers.items():
            logger.removeHandler(handler)
            logger.setLevel(level)
        handler.close()
