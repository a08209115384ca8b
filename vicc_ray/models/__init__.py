"""Networks: backbones, the encoder on top of them, the classifier, and weights in files."""
