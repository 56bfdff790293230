"""Settings of all tests."""

import os

from hypothesis import settings

# The same examples every time, and no time limit an example could miss on a busy machine: a test that fails has
# found something. `pytest --hypothesis-profile=search` looks for new examples.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, max_examples=1000)
settings.load_profile("repeatable")

# What the machine of a lab has set is not what tests are about.
os.environ.pop("CREDLINE_DEVICES", None)
