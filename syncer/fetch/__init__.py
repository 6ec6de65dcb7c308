"""The Action API of the wikis, asked politely: one attempt a call, and every answer either understood or refused.

client      WikiApi: the requests, one after the other, each after its turn
address     which host is asked, and whether the settings allow it
verdict     an HTTP answer -> its JSON, or what is wrong with it
pages       its JSON, in parts -> Answer, Site
lists       its JSON -> rows of what happened
"""

from syncer.fetch.address import check, check_feed, user_agent
from syncer.fetch.client import MOST_VALUES, WikiApi
from syncer.fetch.lists import Edited, Listing, Logged, Span

__all__ = ["MOST_VALUES", "Edited", "Listing", "Logged", "Span", "WikiApi", "check", "check_feed", "user_agent"]
