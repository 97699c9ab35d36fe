"""What every estimator of this room asks of its input; every room shares `embedkit.matrix`."""

from embedkit.matrix import BLOCK, CONSTANT, as_matrix, check_finite

__all__ = ["BLOCK", "CONSTANT", "as_matrix", "check_finite"]
