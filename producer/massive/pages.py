"""Read answers that come in pages. Each page names the next one, on the same host."""

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from ...contracts.errors import RestBroken
from ...contracts.spellings.json_text import NOT_JSON
from ...contracts.spellings.tick_values import shown
from ..rest_client import RestClient

_MAX_PAGES = 1000  # of one question
_ANSWERED = ("OK", "DELAYED")  # a page's status; DELAYED: of a plan whose data is 15 minutes old

R = TypeVar("R")


class Page(msgspec.Struct, Generic[R]):
    """One page, with the vendor's names of the fields."""

    status: str = ""
    results: list[R] | msgspec.UnsetType | None = msgspec.UNSET
    resultsCount: int | None = None  # noqa: N815  # the vendor's name
    next_url: str | None = None


class PageReader(Generic[R]):
    """Reads pages of one type of row."""

    def __init__(self, client: RestClient, page: type[Page[R]], what: str) -> None:
        """page: Page[type of the row]. what: the name of the rows in errors."""
        self._client = client
        self._decoder = msgspec.json.Decoder(page)
        self._what = what

    def read(self, url: str) -> Iterator[list[R]]:
        """Yield the rows of each page until the last one. If the host answers 404, there are no rows.

        Raises RestBroken if a page names an earlier one as the next, if the pages never end, or if a page lacks rows
        that it counts: an incomplete answer must not pass for "no rows". Also raises the errors of RestClient.get.
        """
        met: set[str] = set()
        count = 0
        while url not in met and len(met) < _MAX_PAGES:
            met.add(url)
            page = self._page(url)
            rows = self._rows_of(page)
            count += len(rows)
            yield rows
            if not page.next_url:
                # resultsCount counts one page in practice, all pages by the manual: fewer rows mean a missing part.
                if count < (page.resultsCount or 0):
                    said = f"it sent {count} {self._what}, but its resultsCount is {page.resultsCount}"
                    raise RestBroken(f"{self._client.host}: {said}")
                return
            url = self._client.follow(url, page.next_url)
        raise RestBroken(f"{self._client.host}: next_url never ends")

    def _page(self, url: str) -> Page[R]:
        body = self._client.get(url)
        if body is None:
            return Page("OK", [])
        try:
            return self._decoder.decode(body)
        except NOT_JSON as e:
            raise RestBroken(f"{self._client.host}: the answer is not a page of {self._what}: {e}") from e

    def _rows_of(self, page: Page[R]) -> list[R]:
        if page.status not in _ANSWERED:
            raise RestBroken(f"{self._client.host}: a page of status {shown(page.status)}")
        if isinstance(page.results, list):
            return page.results
        # A page without rows lacks `results`, and counts 0.
        if page.results is msgspec.UNSET and page.resultsCount == 0:
            return []
        raise RestBroken(f"{self._client.host}: a page without results whose resultsCount is not 0")
