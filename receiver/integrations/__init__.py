"""One package for each vendor, inbound and outbound together."""
