"""Response, dark counts, bad pixels and gain of a camera, from a beam that is spread over it."""
