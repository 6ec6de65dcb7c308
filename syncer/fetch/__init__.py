"""The Action API of the wikis, asked politely: one attempt a call, and every answer either understood or refused.

client      WikiApi: the requests, one after the other, each after its turn
address     which host is asked, and whether the settings allow it
verdict     an HTTP answer -> its JSON, or what is wrong with it
pages       its JSON, in parts -> Answer, Site
"""

from syncer.fetch.address import check, check_feed, user_agent
from syncer.fetch.client import MOST_VALUES, WikiApi

__all__ = ["MOST_VALUES", "WikiApi", "check", "check_feed", "user_agent"]
