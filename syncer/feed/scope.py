"""Which wikis are wanted, and which may be asked at all: two questions, never one. Pure."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from syncer.config import WikiSettings

REMEMBERED = 4096  # wikis whose answer is kept; there are about a thousand


class Scope:
    """The section ``wiki`` of the settings, but for its namespaces, which only the decision can apply."""

    def __init__(self, settings: WikiSettings) -> None:
        self._include, self._exclude = _any_of(settings.include), _any_of(settings.exclude)
        self._domains = tuple("." + domain.lower().strip(".") for domain in settings.domains)
        self.wanted = lru_cache(REMEMBERED)(self._wanted)
        self.allowed = lru_cache(REMEMBERED)(self._allowed)

    def _wanted(self, domain: str, wiki_id: str) -> bool:
        """Whether ``wiki.include`` names the wiki, by domain or id, and ``wiki.exclude`` does not."""
        names = (domain.lower(), wiki_id.lower())
        return any(map(self._include.match, names)) and not any(map(self._exclude.match, names))

    def _allowed(self, domain: str) -> bool:
        """Whether ``wiki.domains`` has the domain, or one that it ends with on a label boundary."""
        return f".{domain.lower()}".endswith(self._domains)


def _any_of(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(translate(glob.lower()) for glob in globs) or r"(?!)")
