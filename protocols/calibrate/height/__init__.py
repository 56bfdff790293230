"""The eucentric height: how far what lies in the middle of the image is from the tilt axis, and z moved by that."""
