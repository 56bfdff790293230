"""An experiment carried out: the contract of a protocol, its machine driven, calls through a gate, the way to
safety.
"""
