"""l2-normalized deep auto-encoders for clustering and unsupervised anomaly detection.

Aytekin, Ni, Cricri, Aksu: *Clustering and Unsupervised Anomaly Detection with l2 Normalized Deep
Auto-Encoder Representations*, IJCNN 2018, implemented from scratch.
"""

__version__ = "0.1.0"
