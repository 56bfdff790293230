"""The frames of one armed series, from whoever receives them to whoever takes them through `Detector.frames`."""

import asyncio
from collections.abc import AsyncIterator, Callable

from engine.frame import Frame

FrameQueue = asyncio.Queue[Frame | Exception | None]
"""Frames in their order; an error in the place of a frame that will not come, None at the end of the series."""


async def frames_of(queue: FrameQueue | None, taken: Callable[[], object] = lambda: None) -> AsyncIterator[Frame]:
    """What is put into the queue of a series; without one there are no frames.

    An error is raised in its place. The end is one for everybody who asks, now and later. taken: called for every
    frame and error before it is handed out.
    """
    while queue is not None:
        item = await queue.get()
        if item is None:
            queue.put_nowait(None)  # for whoever else asks
            return
        taken()
        if isinstance(item, Exception):
            raise item
        yield item
