"""What a session concludes from its data sets: phases, what is measured of them, which crystal is worth a run."""
