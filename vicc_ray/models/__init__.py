"""Networks: backbones, the encoder on top, the classifier, and weight files."""
