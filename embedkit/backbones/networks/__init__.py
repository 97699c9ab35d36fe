"""Architectures of embedkit's own, registered with timm beside timm's."""
