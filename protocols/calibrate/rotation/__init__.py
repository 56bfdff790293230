"""How the stage really turns: speeds, run-in, backlash, and how old a reading is."""
