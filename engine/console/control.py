"""Who steers: one page at a time, the others watch. Asked for, refused, handed over; who is gone steers no more.

Kept by the instrument process, so it is one for all consoles of an instrument. Names are for people; a page is known by
what its console makes of its cookie and its own number (`engine.console.guard`), which no other page can say.
"""

from dataclasses import dataclass

from engine.clock import Clock, ns
from engine.errors import Refused, shown
from engine.record.jsonobject import JsonDict

ANSWER_S = 20.0
"""So long who steers may refuse; then the other one does."""
GONE_S = 8.0
"""A page that no console has told of for so long is gone: a reload takes less."""


@dataclass(frozen=True, slots=True)
class Page:
    """by: what it is known by. who: for a person."""

    by: str
    who: str


class Control:
    """Of one instrument. Every answer is as of now: what was to come after a time has come when it is asked for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holder: Page | None = None
        self._asks: Page | None = None
        self._until_ns = 0
        self._seen_ns: dict[str, int] = {}
        self._refused = ""
        """Who was refused last, by whom: for the page that asked."""
        self._refused_by = ""

    def present(self, pages: list[str]) -> None:
        """These pages are open now."""
        now_ns = self._clock.now_ns()
        self._seen_ns = {by: at for by, at in self._seen_ns.items() if now_ns - at < ns(GONE_S)}
        self._seen_ns |= dict.fromkeys(pages, now_ns)

    def _settle(self) -> None:
        """What time has brought about."""
        now_ns = self._clock.now_ns()
        if self._asks is not None and (self._holder is None or self._is_gone(self._holder) or now_ns >= self._until_ns):
            self._holder, self._asks = self._asks, None
        elif self._holder is not None and self._is_gone(self._holder):
            self._holder = None

    def _is_gone(self, page: Page) -> bool:
        return self._clock.now_ns() - self._seen_ns.get(page.by, -(2**62)) >= ns(GONE_S)

    def claim(self, page: Page) -> None:
        """Let who steers act, and whoever comes first where nobody does. Raises Refused for another one."""
        self._settle()
        if self._holder is None or self._holder.by == page.by or self._is_gone(self._holder):
            self._holder = page
            self._seen_ns.setdefault(page.by, self._clock.now_ns())
            return
        raise Refused(f"{self._holder.who} steers; nothing was done. Take over first.")

    def take(self, page: Page) -> str:
        """Ask to steer; in words what comes of it. Who steers has some seconds to refuse."""
        self._settle()
        if self._holder is not None and self._holder.by == page.by:
            self._holder = page  # by another name
            return "this page steers"
        if self._holder is None or self._is_gone(self._holder):
            self._holder, self._asks = page, None
            self._seen_ns[page.by] = self._clock.now_ns()
            return "this page steers"
        if self._asks is not None and self._asks.by != page.by:
            raise Refused(
                f"{self._asks.who} has asked {self._holder.who} before; nothing was done. Wait for the answer."
            )
        if self._asks is None:
            self._asks, self._until_ns, self._refused = page, self._clock.now_ns() + ns(ANSWER_S), ""
        return f"{self._holder.who} was asked, and has {ANSWER_S:g} s to refuse"

    def refuse(self, page: Page) -> None:
        """Keep steering. Raises Refused for who does not steer, or was not asked."""
        self._settle()
        self._must_hold(page)
        if self._asks is None:
            raise Refused("nobody asks to steer; nothing was done.")
        self._refused, self._refused_by, self._asks = self._asks.by, page.who, None

    def hand_over(self, page: Page) -> None:
        """To who asks for it, or to whoever takes it next. Raises Refused for who does not steer."""
        self._settle()
        self._must_hold(page)
        self._holder, self._asks = self._asks, None

    def _must_hold(self, page: Page) -> None:
        if self._holder is None or self._holder.by != page.by:
            raise Refused("this page does not steer; nothing was done.")

    def told(self) -> JsonDict:
        """For the pages: each finds itself by what it is known by."""
        self._settle()
        left_ns = self._until_ns - self._clock.now_ns()
        return {
            "holder": None if self._holder is None else self._holder.by,
            "who": "" if self._holder is None else shown(self._holder.who),
            "asks": None if self._asks is None else self._asks.by,
            "asks_who": "" if self._asks is None else shown(self._asks.who),
            "left_s": 0.0 if self._asks is None else round(max(0, left_ns) / ns(1), 1),
            "refused": self._refused,
            "refused_by": shown(self._refused_by),
        }
