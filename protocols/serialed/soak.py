"""Serial runs for the soak."""

from engine.run.trial import Trial


class SerialedTrial(Trial):
    """What `credline soak serialed` draws."""
