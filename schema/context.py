"""What a request carries to its resolvers: who asks, and the way to the database."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Generic, Self, TypeAlias, TypeVar

import psycopg
import strawberry
from sqlalchemy.exc import DBAPIError

from coalition.errors import CoalitionError, DatabaseUnavailable, InvalidInput
from partners.limits import keep_fresh
from partners.refusals import Attempt, register
from schema.loading import Loaded
from schema.refusals import UserError, as_user_error
from schema.viewer import Viewer
from settlement.runs import Books, read_books

if TYPE_CHECKING:
    from types import TracebackType
    from uuid import UUID

    from sqlalchemy.orm import Session

    from coalition.db import Database
    from partners.tokens import Principal, Tokens
    from settlement.runs import Run

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """What came of a wish: a value, or why not."""

    value: T | None
    user_errors: list[UserError]


class Context:
    """One per request. Its resolvers run one after the other, in one thread."""

    def __init__(self, database: Database, principal: Principal, request_id: str, tokens: Tokens) -> None:
        self.database = database
        self.viewer = Viewer(principal)
        self.request_id = request_id
        self.tokens = tokens
        self._reading = contextlib.ExitStack()
        self._session: Session | None = None
        self._loaded: Loaded | None = None
        self._books: dict[UUID, Books] = {}

    @property
    def session(self) -> Session:
        """A snapshot to read from, opened when first needed and the same for the whole query."""
        if self._session is None:
            self._session = self._reading.enter_context(self.database.reading())
        return self._session

    @property
    def loaded(self) -> Loaded:
        """What was read already, so that it is not read twice."""
        if self._loaded is None:
            self._loaded = Loaded(lambda: self.session)
        return self._loaded

    def books(self, run: Run) -> Books:
        """A run with all its rows, read once for a request."""
        found = self._books.get(run.run_id)
        if found is None:
            found = self._books[run.run_id] = read_books(self.session, run)
        return found

    def attempt(self, posting: str, *, points: int | None = None) -> Attempt:
        """What the register of refusals will say if this is refused; filled in while it is understood."""
        return Attempt(
            posting=posting,
            partner_id=self.viewer.partner_id,
            client=self.viewer.client_id,
            request_id=self.request_id,
            points=points,
        )

    def post(self, wish: Callable[[Session], T], attempt: Attempt | None = None) -> Outcome[T]:
        """Do what is one call of the kernel, which commits by itself: one round trip."""
        self._forget()
        keep_fresh(self.database)
        return self._registered(lambda: _within(self.database.single_call(), wish), attempt)

    def post_saying(self, words: str | None, wish: Callable[[Session], T], attempt: Attempt) -> Outcome[T]:
        """Post; with words of the caller's, which are sealed in the same transaction."""
        return self.post(wish, attempt) if words is None else self.execute(wish, attempt)

    def execute(self, wish: Callable[[Session], T], attempt: Attempt | None = None) -> Outcome[T]:
        """Do all of it in one database transaction, or nothing."""
        self._forget()
        keep_fresh(self.database)
        return self._registered(lambda: _within(self.database.unit_of_work(), wish), attempt)

    def note_refusals(self, refused: Sequence[tuple[Attempt, CoalitionError]]) -> None:
        """Write down what a posting that went through refused of its parts."""
        register(self.database, refused)

    def quote(self, question: Callable[[Session], T]) -> Outcome[T]:
        """Ask what would come of a wish; nothing moves."""
        return _outcome(lambda: question(self.session))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the connection back. The database tells what an error of its own means, and heals."""
        self._session = self._loaded = None
        self._reading.__exit__(kind, error, trace)

    def _registered(self, act: Callable[[], T], attempt: Attempt | None) -> Outcome[T]:
        """The outcome; a refusal is written down before it is answered."""
        refused: list[CoalitionError] = []
        outcome = _outcome(act, refused.append)
        register(self.database, [(attempt or self.attempt("other"), refusal) for refusal in refused])
        return outcome

    def _forget(self) -> None:
        # What was read before a mutation is of the time before it.
        self._session = self._loaded = None
        self._reading.close()


def _within(opened: contextlib.AbstractContextManager[Session], wish: Callable[[Session], T]) -> T:
    with opened as session:
        return wish(session)


def _outcome(act: Callable[[], T], note: Callable[[CoalitionError], None] = lambda _: None) -> Outcome[T]:
    """The one place where a refusal becomes data."""
    try:
        return Outcome(act(), [])
    except DatabaseUnavailable:
        raise
    except CoalitionError as told:
        refusal = told
    except (DBAPIError, psycopg.DataError) as error:
        if not cannot_be_stored(error):
            raise
        refusal = InvalidInput(UNSTORABLE)
    note(refusal)
    return Outcome(None, [as_user_error(refusal)])


UNSTORABLE: Final = "A text holds a character that cannot be stored."
_INVALID_TEXT: Final = "22021"


def cannot_be_stored(error: Exception) -> bool:
    """Whether a text of the caller's was at fault: PostgreSQL's cannot hold the character NUL."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.DataError) and cause.sqlstate in {None, _INVALID_TEXT}


Info: TypeAlias = strawberry.Info[Context, None]
