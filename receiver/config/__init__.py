"""The environment and routing.yaml: read, checked, and turned into the model."""
