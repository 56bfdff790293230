"""Runs experiments: clock, run, record, replay. Knows no vendor and nothing of what is measured.

Rooms, each importing only from those before it: `clock` (the one time source), `record` (what a run leaves on disk),
`run` (an experiment carried out on an instrument), `replay` (a recorded run again), `views` (traces for people),
`testing` (the pytest plugin, the soak), `commands` (the command line). `errors`, `frame`, `worker` and `devicethread`
are what everybody may use. Who writes a protocol begins with `engine.run.contract`, who writes a driver with
`drivers.contract`.
"""
