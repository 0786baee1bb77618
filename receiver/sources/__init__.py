"""From outside to domain: one file for each kind of body that is posted to us.

Nothing here stores or sends.
"""
