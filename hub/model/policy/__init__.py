"""The policy of a district: categories, routing, limits and its decisions. Pure; read by `hub.config`, held by the spine."""
