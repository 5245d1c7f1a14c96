"""Statistics of any counted thing."""
