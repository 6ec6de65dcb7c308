"""Proof of life: what each topic last delivered and when, which have gone quiet, and up to when the feed is complete. Pure.

Every stream sends a canary from every data centre each 15 minutes (PROTOCOL 9), and a topic-partition's largest timestamp
moves with it: so that movement is all that has to be watched. Times passed in are seconds of one steady clock; timestamps
are Kafka's, in milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from syncer.feed.position import TopicPartition

CANARY_EVERY = 900.0
QUIET_AFTER = 2 * CANARY_EVERY + 300.0  # two canaries missed, with some patience
SILENT_AFTER = 60.0  # whatever a topic-partition still had to deliver begins to arrive long before that


class Vitals:
    """Watches the timestamps of a feed."""

    def __init__(self) -> None:
        self._largest: dict[TopicPartition, int] = {}
        self._heard: dict[TopicPartition, float] = {}
        self._listening = 0.0
        self._feed_time: int | None = None

    def listening(self, now: float) -> None:
        """From now on what is sent is heard: a connection was made, or the reader is back from doing something else."""
        self._listening = now

    def heard(self, timestamps: Mapping[TopicPartition, int], now: float) -> None:
        """The timestamps after something was delivered."""
        for source, at in timestamps.items():
            if self._largest.get(source) != at:
                self._largest[source] = at
                self._heard[source] = now

    def feed_time(self, now: float) -> int | None:
        """The timestamp up to which everything was delivered, but for disorder within a topic-partition; it never falls.

        That of the topic-partition least advanced. One that stays silent while others talk has nothing to say and does not
        count, once it had the time to; if all are silent, nothing new is known.
        """
        talking = [
            self._largest[source] for source, heard in self._heard.items() if now - max(heard, self._listening) < SILENT_AFTER
        ]
        if talking:
            self._feed_time = max(min(talking), self._feed_time or 0)
        return self._feed_time

    def quiet(self, now: float) -> dict[str, float]:
        """The topics that should have sent a canary and did not, and for how many seconds nothing came from them."""
        last: dict[str, float] = {}
        for (topic, _), heard in self._heard.items():
            last[topic] = max(heard, last.get(topic, heard))
        return {topic: now - heard for topic, heard in sorted(last.items()) if now - heard > QUIET_AFTER}
