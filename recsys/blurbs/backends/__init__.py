"""What writes blurbs: the shop's own words, a model on this machine, or a server."""
