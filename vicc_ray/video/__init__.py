"""Video processing: decoding, color, optical flow, the codecs of the clip store, and clip transforms."""
