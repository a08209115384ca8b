"""What a run trains: pretraining and classification, and the trainers of both."""
