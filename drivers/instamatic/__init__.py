"""Instamatic's TEM and camera servers, and its logs."""
