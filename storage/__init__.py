"""The workspace: table schemas, settings, reading and committing, the model registry, reviews."""
