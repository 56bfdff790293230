"""The live view: the camera's pictures and how the microscope stands, while no experiment has the instrument.

An experiment like any other, with trace and safe state; but of its pictures only those that the operator asks to save
are kept (docs/decisions/0029-view.md), and it gives way to any other run.
"""
