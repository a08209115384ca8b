"""Which videos there are, what is known of each, and which are held out for testing."""

from vicc_ray.datasets.base import VideoItem
from vicc_ray.datasets.file_listing import SUFFIXES
from vicc_ray.datasets.resolve import Inputs, list_videos
from vicc_ray.datasets.splits import assign_splits

__all__ = ["SUFFIXES", "Inputs", "VideoItem", "assign_splits", "list_videos"]
