"""The policy of a district: categories, routing, limits and what they decide. Pure; read by `hub.config`, held by the spine."""
