"""The environment and routing.yaml, read and judged whole; what they mean is said in the domain."""
