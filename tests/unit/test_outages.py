from __future__ import annotations

import pytest

from syncer.config import EnrichSettings
from syncer.enrich.outages import STAYS, Outages
from syncer.errors import Forbidden, Refused, WikiUnavailable

AWAY = WikiUnavailable("enwiki: status 503")
CLOSED = Forbidden("enwiki: status 403", hint="say who you are")


@pytest.fixture
def outages() -> Outages:
    return Outages(EnrichSettings(unavailable_changes=100, unavailable_minutes=30, probe_minutes=5))


@pytest.mark.parametrize(
    ("waiting", "seconds", "broken"),
    [
        (0, 30 * 60 - 1, False),
        (1, 30 * 60, True),
        (101, 0, False),  # one failure, however much waits: a maxlag in a backlog
        (101, STAYS - 1, False),
        (101, STAYS, True),
        (100, STAYS, False),
    ],
)
def test_when_a_wiki_counts_as_broken(outages: Outages, waiting: int, seconds: float, *, broken: bool) -> None:
    assert outages.broken(waiting, seconds) is broken


def test_who_sets_less_than_a_minute_gets_it() -> None:
    outages = Outages(EnrichSettings(unavailable_changes=100, unavailable_minutes=0.5))
    assert outages.broken(0, 30)
    assert not outages.broken(101, 29)


def test_it_is_probed_until_it_answers(outages: Outages) -> None:
    outages.put_off("enwiki", 1000.0)
    outages.take_out("dewiki", 1100.0)
    assert outages.out == {"enwiki", "dewiki"}
    assert (outages.due(1099.0), outages.due(1100.0), outages.due(1300.0)) == ([], ["dewiki"], ["enwiki", "dewiki"])
    outages.put_off("dewiki", 1100.0)
    assert outages.due(1399.0) == ["enwiki"]
    outages.answered("enwiki")
    outages.answered("frwiki")
    assert outages.out == {"dewiki"}


def test_two_wikis_that_refuse_us_mean_us(outages: Outages) -> None:
    outages.failed("enwiki", CLOSED)
    outages.failed("enwiki", CLOSED)
    outages.failed("dewiki", AWAY)
    with pytest.raises(Refused, match="dewiki and enwiki") as caught:
        outages.failed("dewiki", CLOSED)
    assert caught.value.hint == "say who you are"


def test_one_that_answers_again_is_forgiven(outages: Outages) -> None:
    outages.failed("enwiki", CLOSED)
    outages.answered("enwiki")
    outages.failed("dewiki", CLOSED)
