"""The images of a run that are worth a look, small, in `gallery.npz` beside its clusters.

choose.py      which images: of every cluster, the least normal, the worst reconstructed
thumbnails.py  small pictures of images, and of what differs between two
file.py        what `gallery.npz` holds
make.py        the gallery of images, by their codes and scores
seeds.py       that of runs of several seeds: images that change their cluster
"""

from l2ae_core.gallery.file import Gallery
from l2ae_core.gallery.make import make_gallery

__all__ = ["Gallery", "make_gallery"]
