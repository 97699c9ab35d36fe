"""Where images come from: one file a source, all giving the same `Dataset`."""

from embedkit.datasets.dataset import Dataset
from embedkit.datasets.load import DATASETS, add_dataset_arguments, dataset_from_args, load_dataset

__all__ = ["DATASETS", "Dataset", "add_dataset_arguments", "dataset_from_args", "load_dataset"]
