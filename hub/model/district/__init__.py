"""The district: its areas, units, grids and places. Pure; read by `hub.config`."""
