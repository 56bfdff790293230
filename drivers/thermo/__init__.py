"""Thermo Fisher (FEI) microscopes through temscript's server."""
