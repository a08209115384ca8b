"""Training tasks: pretraining and classification, with their trainers."""
