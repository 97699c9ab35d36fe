"""Principal components, where users of this room look for them; every room shares `embedkit.pca`."""

from embedkit.pca import PCA

__all__ = ["PCA"]
