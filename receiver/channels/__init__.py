"""From domain to outside: one folder for each kind of target.

What to say and when is decided elsewhere; here it is only worded and sent, once for each call.
"""
