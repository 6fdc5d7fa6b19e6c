"""What runs, in which order: one stage a file, and the command line."""
