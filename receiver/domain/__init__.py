"""Pure thinking: what an alert, an incident and an escalation are, and what they need next.

Nothing here does I/O, reads a clock or logs; the moment is always handed in.
"""
