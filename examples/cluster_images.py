"""Clusters and outliers of images that nobody labelled, from one trained network.

Run as a script, or cell by cell in an editor that knows `# %%`.
"""

# %% Any array of images with values in [0, 1] will do; here the 8×8 digits that come with
# scikit-learn. Their labels are used at the very end, to see how good the clusters are.
import os

from l2ae_core.clustering.metrics import chance_scores, clustering_scores
from l2ae_core.data import load
from l2ae_core.estimators import AutoEncoderClusterer, AutoEncoderDetector
from l2ae_core.seeding import rngs

quick = "L2AE_EXAMPLE_QUICK" in os.environ  # a run in CI: enough to see that it works
digits = load("digits")
images = digits.images  # (1797, 8, 8, 1)

# %% An auto-encoder whose code lies on the unit sphere, then plain k-means on the codes.
clusterer = AutoEncoderClusterer(
    n_clusters=10, epochs=5 if quick else 100, batch_size=64, random_state=0
)
labels = clusterer.fit_predict(images)
print("cluster sizes", [int((labels == k).sum()) for k in range(10)])

# %% The same network tells which images do not belong: the cosine to the nearest centre (Eq. 5).
detector = AutoEncoderDetector.from_clusterer(clusterer)
v = detector.score_samples(images)  # in [-1, 1], high is normal
print("least normal images", v.argsort()[:5], v[v.argsort()[:5]].round(3))

# %% Only now the labels: accuracy after the best matching of clusters and digits (Eq. 6).
print(clustering_scores(digits.labels, labels))
print("chance", chance_scores(digits.labels, 10, rngs(0).kmeans))
