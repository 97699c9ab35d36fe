"""Features worth having: views, adaptation and self-distillation on images without labels."""
