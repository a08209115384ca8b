"""Import of the checkpoints that the method's authors released; a module for each backbone maps its keys."""
