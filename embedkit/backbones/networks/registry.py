"""timm, with embedkit's own architectures among its names: who asks timm for a network imports it here."""

import timm

from embedkit.backbones.networks.plain import OWN

__all__ = ["OWN", "timm"]
