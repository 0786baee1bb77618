"""Everything in Redis: key names, atomic steps, packing. No rule of the domain is known here."""
