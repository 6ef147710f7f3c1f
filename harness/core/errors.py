"""The error tree. The class says who must act; handlers choose by class, never by message or status.

HarnessError ─ SpecError               the user's file or arguments are wrong
             ─ EngineError             a local engine could not be installed, started or kept alive
             ─ CallError               the provider's doing
               ─ TransientCallError    worth another try: RateLimited, Unavailable ─ ConnectFailed, TimedOut, Garbled
               ─ FinalCallError        the same answer tomorrow: Rejected, ContentRefused, ContextExceeded
                 ─ GateClosing         nothing more can come this way: AccountRefused, ModelUnknown, Unreachable, Stopped, BudgetSpent
             ─ StoreError              disk or database
               ─ StoreInUse            a run holds the file
             ─ AuditError              the rows cannot answer the question"""

from __future__ import annotations

from collections.abc import Mapping


class HarnessError(Exception):
    """A mistake with a remedy; its text is one paragraph meant for a person."""


class SpecError(HarnessError):
    """The user's file or arguments are wrong."""


class EngineError(HarnessError):
    """A local engine could not be installed, started or kept alive."""


class StoreError(HarnessError):
    """The store cannot be opened, read or written."""


class StoreInUse(StoreError):
    """Another process holds the store's file."""


class AuditError(HarnessError):
    """The rows cannot answer the question."""


class CallError(HarnessError):
    """A call that brought no reply.

    status       HTTP status, None if there was none
    request_id   the provider's, None if it gave none
    headers      those of the answer that speak of rate limits, names in lower case
    held_s       seconds that a ceiling on the wire held the request back before it was sent"""

    def __init__(self, message: str, *, status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
        self.headers: Mapping[str, str] = {}
        self.held_s = 0.0


class TransientCallError(CallError):
    """Worth another try.

    retry_after_s   how long the provider asked us to wait, None if it did not"""

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
    """Too fast for the provider."""


class Unavailable(TransientCallError):
    """The provider is overloaded, restarting or out of reach for now."""


class ConnectFailed(Unavailable):
    """Nobody takes up the connection; if that lasts, the method is Unreachable."""


class TimedOut(TransientCallError):
    """A deadline passed."""


class Garbled(TransientCallError):
    """An answer that is not what the dialect promises: a cut body, HTML instead of JSON, no reply in it."""


class FinalCallError(CallError):
    """The same answer tomorrow."""


class Rejected(FinalCallError):
    """The provider refuses this request."""


class ContentRefused(FinalCallError):
    """The provider's filter stands before the model, or cut its reply: the provider's doing, not the model's."""


class ContextExceeded(FinalCallError):
    """The messages do not fit the model's context."""


class GateClosing(FinalCallError):
    """Nothing more can come this way until a person acts; episodes that need it stay pending."""


class AccountRefused(GateClosing):
    """The key is wrong or the account has no credit."""


class ModelUnknown(GateClosing):
    """The provider does not serve this model to this account."""


class Unreachable(GateClosing):
    """Nobody answers at the address."""


class Stopped(GateClosing):
    """A person asked for an end."""


class BudgetSpent(GateClosing):
    """What the sweep may cost is spent."""
