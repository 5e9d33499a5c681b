"""What `async for` needs."""

from __future__ import annotations

import asyncio

from unlade._unlade import Output, Stream


async def next_of(stream: Stream) -> Output:
    """The next result, computed on a thread of the event loop's executor."""
    try:
        output = await asyncio.to_thread(next, stream, None)
    except asyncio.CancelledError:
        # The thread goes on to the end of the piece at hand, and finds the stream at its end.
        stream.cancel()
        raise
    if output is None:
        raise StopAsyncIteration
    return output
