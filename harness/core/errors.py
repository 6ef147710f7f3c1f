"""The error tree. The class says who must act; handlers choose by class, never by message or status.

HarnessError ─ SpecError               the user's file or arguments are wrong
             ─ EngineError             a local engine could not be installed, started or kept alive
             ─ CallError               a provider's failure
               ─ TransientCallError    worth another try: RateLimited, Unavailable ─ ConnectFailed, TimedOut,
                                       Garbled
               ─ FinalCallError        another try gives the same: Rejected, ContentRefused, ContextExceeded,
                                       UnknownEnd
                 ─ GateClosing         no further call is possible: AccountRefused, ModelUnknown, Unreachable,
                                       AllRefused, NotServed, Stopped, BudgetSpent
             ─ GameError               a game of another library cannot go on: GameFailed, GameUnavailable
             ─ StoreError              disk or database
               ─ StoreInUse            another process holds the file
             ─ WorkerDied, WorkerFailed   a process that plays ended, or cannot play
             ─ AuditError              the rows cannot answer the question"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

from harness.core.vocabulary import Completion


class HarnessError(Exception):
    """An error with a remedy; its text is one paragraph for a person."""


def first_error(error: BaseException) -> BaseException:
    """Returns the first error of a group: tasks that fail together fail for the same reason."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class SpecError(HarnessError):
    """The user's file or arguments are wrong."""


class EngineError(HarnessError):
    """A local engine could not be installed, started or kept alive."""


class GameError(HarnessError):
    """A game of another library cannot go on."""


class GameFailed(GameError):
    """The game's own code cannot play this episode to its end: the episode failed."""


class GameUnavailable(GameError):
    """The process of the game cannot be started or kept alive: its episodes stay pending."""


class StoreError(HarnessError):
    """The store cannot be opened, read or written."""


class StoreInUse(StoreError):
    """Another process holds the store's file."""


class StoreDamaged(StoreError):
    """The store's file lacks a part, or has wrong bytes."""


class AuditError(HarnessError):
    """The rows cannot answer the question."""


class WorkerDied(HarnessError):
    """The process of a worker ended; another can take its place."""


class WorkerFailed(HarnessError):
    """A worker cannot play, and another could not either."""


class CallError(HarnessError):
    """A call without a reply.

    status       HTTP status, None if there was none
    request_id   the provider's, None if it gave none
    headers      the response's headers about rate limits, names in lower case
    held_s       seconds that the rate limiter of the host delayed the request"""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.headers: Mapping[str, str] = {}
        self.held_s = 0.0


class TransientCallError(CallError):
    """Worth another try.

    retry_after_s   the pause that the provider asks for, None if it asks for none"""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id)
        self.retry_after_s = retry_after_s


class RateLimited(TransientCallError):
    """The provider refuses the request because of its rate limit."""


class Unavailable(TransientCallError):
    """The provider is overloaded, restarting or temporarily out of reach."""


class ConnectFailed(Unavailable):
    """The connection cannot be made; if that lasts, the method is Unreachable."""


class TimedOut(TransientCallError):
    """A deadline passed."""


class Garbled(TransientCallError):
    """A response that does not fit the dialect: a cut body, HTML instead of JSON, no reply in it."""


class FinalCallError(CallError):
    """Another try would give the same result."""


class Rejected(FinalCallError):
    """The provider refuses this request."""


class ContentRefused(FinalCallError):
    """The provider's content filter refuses the request or cuts the reply; it is not the model's failure."""


class ContextExceeded(FinalCallError):
    """The messages do not fit the model's context."""


class UnknownEnd(FinalCallError):
    """An answer whose end is not known to be good, or that has text in an unknown place: no reply rests on
    it.

    completion   what the answer contains, for the store"""

    def __init__(
        self,
        message: str,
        *,
        completion: Completion,
        status: int | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message, status=status, request_id=request_id)
        self.completion = completion


class GateClosing(FinalCallError):
    """No further call is possible until a person acts; episodes that need the method stay pending."""

    def copied(self) -> Self:
        """Returns a copy: one exception in a thousand tasks would collect their tracebacks."""
        return type(self)(str(self), status=self.status, request_id=self.request_id)


class AccountRefused(GateClosing):
    """The key is wrong or the account has no credit."""


class ModelUnknown(GateClosing):
    """The provider does not serve this model to this account."""


class Unreachable(GateClosing):
    """No server answers at the address."""


class AllRefused(GateClosing):
    """Every call of the method so far was refused for one reason, in whatever words."""


class NotServed(GateClosing):
    """The provider served no call for too long, or asks for too long a pause."""


class Stopped(GateClosing):
    """A person stopped the run."""


class BudgetSpent(GateClosing):
    """The sweep's budget is spent."""
