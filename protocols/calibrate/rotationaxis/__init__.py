"""The rotation axis of the stage: its direction in the picture, its hand, its lean, from a cRED run of any crystal."""
