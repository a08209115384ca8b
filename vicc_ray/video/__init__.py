"""Videos: decoding, color, optical flow, codecs of the clip store, and the transforms of clips."""
