"""What we ask others: whether an alert still fires and silences, who has the pager.

One file for each system, with a time-out, a cache where its API is limited, and an answer for when
it is away. What an answer means for an incident is decided elsewhere; nothing here imports a channel.
"""
