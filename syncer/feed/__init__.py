"""EventStreams -> changes: reading, resuming and decoding the feed. No journal, no API.

    GET /v2/stream/a,b                              client.Feed      connects, times out, reconnects, waits
        |  chunks of bytes
    sse.Cutter                                      complete blocks -> sseclient-py -> events; too long: rejected
        |  id, data
    position.Cursor  <-- id of every event          the resume point: an own map of topic-partitions to timestamps
    vitals.Vitals    <-- how that map moves         topics gone quiet; the time up to which the feed is complete
        |  Batch: data, rejected blocks, the position after them
    decode.identify -> memory.Memory, scope.Scope   canary? seen before? a wiki that is wanted?
        |
    decode.decode -> recentchange, pages            one decoder a stream: Change, or Skip, or Aside with a reason

The upper half is put together in :class:`Feed`, the lower half by :mod:`syncer.ingest`, which appends what comes out.
"""

from syncer.feed.client import Batch, Delivered, Feed
from syncer.feed.scope import Scope

__all__ = ["Batch", "Delivered", "Feed", "Scope"]
