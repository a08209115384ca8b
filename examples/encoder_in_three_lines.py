"""Similarity of videos by a trained encoder.

    python examples/encoder_in_three_lines.py demo/run demo/videos/*/*.mp4

The first argument is a run, one of its checkpoints, an exported file or a released checkpoint; only RGB is needed.
"""

import sys

import numpy as np

from vicc_ray import load_clips, load_encoder

encoder = load_encoder(sys.argv[1])
features = np.stack([encoder(load_clips(video, encoder)).mean(0).numpy() for video in sys.argv[2:]])
similarity = (unit := features / np.linalg.norm(features, axis=1, keepdims=True)) @ unit.T

np.fill_diagonal(similarity, -1)
for video, nearest in zip(sys.argv[2:], similarity.argmax(1), strict=True):
    print(f"{video}: nearest is {sys.argv[2 + nearest]}")
