"""The message bus: the only package that imports nats. Connection, streams, consumers, leases, buckets, objects, embedded server.

Called by the composition root and by the stages through the small classes exported here.
"""

from hub.bus.buckets import Bucket, Change, Entry, KeyExists, Objects
from hub.bus.connection import Bus, Message, WrongSequence
from hub.bus.embedded import EmbeddedServer
from hub.bus.lease import Lease
from hub.bus.pull import Delivery, PullConsumer
from hub.bus.streams import StreamState, ensure_streams

__all__ = [
    "Bucket",
    "Bus",
    "Change",
    "Delivery",
    "EmbeddedServer",
    "Entry",
    "KeyExists",
    "Lease",
    "Message",
    "Objects",
    "PullConsumer",
    "StreamState",
    "WrongSequence",
    "ensure_streams",
]
