"""The operator's console: a web page that shows a run as it goes and steers it (docs/console.md).

Two processes. The *instrument process* (`instrumentprocess`) owns the hardware: connection, lock, watchdog, runs. The
*console* (`command`, `server`) is a web server on this machine alone; it reads what runs write to the disk, passes on
what the operator asks for, and may die at any moment without harm. Neither knows what is measured: what there is to
show of an experiment its protocol declares. Why so: docs/decisions/0027-console.md.
"""
