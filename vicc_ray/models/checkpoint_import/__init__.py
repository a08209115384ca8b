"""Import of the checkpoints that the authors of the method released, a file of name mappings for each backbone."""
