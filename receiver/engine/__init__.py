"""What decides when: takes what came in, looks at how incidents stand, and has done what is missing.

No library of the outside world is known here; everything outside comes through the ports.
"""
