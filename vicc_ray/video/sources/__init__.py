"""Which videos there are, what is known of each, and which are held out for testing."""

from vicc_ray.video.sources.inputs import Inputs, list_videos
from vicc_ray.video.sources.item import VideoItem
from vicc_ray.video.sources.listing import SUFFIXES
from vicc_ray.video.sources.splits import assign_splits

__all__ = ["SUFFIXES", "Inputs", "VideoItem", "assign_splits", "list_videos"]
