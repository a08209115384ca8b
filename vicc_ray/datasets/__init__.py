"""Data sets: the videos to prepare, their labels and sources, and the train/test split.

To add an annotation format, write a module with an :class:`~vicc_ray.datasets.base.AnnotationFormat` and list it in
``FORMATS`` of :mod:`vicc_ray.datasets.resolve`.
"""

from vicc_ray.datasets.base import VideoItem
from vicc_ray.datasets.file_listing import SUFFIXES
from vicc_ray.datasets.resolve import Inputs, list_videos
from vicc_ray.datasets.splits import assign_splits

__all__ = ["SUFFIXES", "Inputs", "VideoItem", "assign_splits", "list_videos"]
