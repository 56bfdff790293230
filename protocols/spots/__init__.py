"""Spots of a picture: one finder for frames of counts, one for drawn disks."""
