"""What was settled: all of it to finance and the operator, its own part to a partner."""

import datetime as dt
from typing import Annotated, Final

import strawberry

from coalition import clock
from coalition.errors import InvalidInput, WindowUnknown
from coalition.ids import PartyId
from coalition.paging import Page
from coalition.programme import get_programme
from coalition.windows import find_window
from partners import directory
from partners.scopes import Scope
from schema.context import Context, Info
from schema.cost import PAGE, Cost, ListSize
from schema.objects.forecast import ForecastMonth
from schema.objects.nodes import After, Before, Connection, First, Last, asked_page, connection
from schema.objects.settlement import (
    LiabilityMatrix,
    SettlementRun,
    SettlementWindow,
    Statement,
    cell_of,
    sees_runs,
    statement_of,
    visible_run,
)
from schema.viewer import Requires
from schema.web.faults import BadArgument
from settlement import forecast, reads

READS_SETTLEMENT: Final = (
    Scope.SETTLEMENT_READ,
    Scope.SETTLEMENT_OPERATE,
    Scope.SETTLEMENT_APPROVE,
    Scope.PROGRAMME_ADMIN,
)
BusinessDate = Annotated[dt.date, strawberry.argument(description="The window's business date.")]


def statement_for(context: Context, business_date: dt.date, code: str | None) -> reads.Statement | None:
    """The statement of a partner: its own, or the one that finance names.

    To a partner the code of another is answered as one that does not exist.
    """
    own = context.viewer.partner_id
    party: PartyId | None = own
    if code is not None:
        named = directory.find_partner(context.session, code) if code.isprintable() else None
        party = None if named is None or own not in (None, named.partner_id) else named.partner_id
    elif own is None:
        raise BadArgument("Name the partner whose statement is wanted.")
    if party is None:
        return None
    try:
        return reads.get_statement(context.session, business_date=business_date, party=party)
    except WindowUnknown:
        return None


@strawberry.type
class SettlementQueries:
    """Windows, runs, statements, the matrix."""

    @strawberry.field(
        description="One window. Null where there is none.", extensions=[Requires(*READS_SETTLEMENT)]
    )
    def settlement_window(self, info: Info, business_date: BusinessDate) -> SettlementWindow | None:
        """A window."""
        try:
            return SettlementWindow.of(find_window(info.context.session, business_date))
        except WindowUnknown:
            return None

    @strawberry.field(
        description="The windows, the newest first.",
        extensions=[Requires(*READS_SETTLEMENT)],
        directives=[PAGE],
    )
    def settlement_windows(
        self, info: Info, first: First = None, after: After = None, last: Last = None, before: Before = None
    ) -> Connection[SettlementWindow]:
        """A page of windows."""
        asked = asked_page(first=first, after=after, last=last, before=before)
        for name, key in (("after", asked.after), ("before", asked.before)):
            try:
                dt.date.fromisoformat(key[0] if key else "2000-01-01")
            except ValueError as error:
                raise InvalidInput(f"{name} is not a cursor of this list", field=(name,)) from error
        page = reads.windows_page(info.context.session, asked)
        made: Connection[SettlementWindow] = connection(
            page,
            [reads.window_key(one) for one in page.items],
            [SettlementWindow.of(one) for one in page.items],
        )
        return made

    @strawberry.field(
        description="The window's run that counts. Null where there is none, and to partners: theirs is"
        " `statement`.",
        extensions=[Requires(*READS_SETTLEMENT)],
        directives=[Cost(weight=5)],
    )
    def settlement_run(self, info: Info, business_date: BusinessDate) -> SettlementRun | None:
        """A run."""
        return visible_run(info, business_date)

    @strawberry.field(
        description="The runs, those of the newest window first, and of one window the last calculated, with"
        " those that were superseded. None to partners: theirs is `statement`.",
        extensions=[Requires(*READS_SETTLEMENT)],
        directives=[PAGE],
    )
    def settlement_runs(  # noqa: PLR0917 - Relay's arguments
        self,
        info: Info,
        since: Annotated[
            dt.date | None, strawberry.argument(description="Of windows from this business date on.")
        ] = None,
        until: Annotated[
            dt.date | None, strawberry.argument(description="Of windows up to this business date.")
        ] = None,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Connection[SettlementRun]:
        """A page of runs."""
        context = info.context
        asked = asked_page(
            first=first, after=after, last=last, before=before, key_length=reads.RUN_KEY_LENGTH
        )
        page: Page[reads.Run] = Page(items=[], has_next=False, has_previous=False)
        if sees_runs(context.viewer):
            page = reads.runs_page(context.session, asked, since=since, until=until)
        made: Connection[SettlementRun] = connection(
            page, [reads.run_key(one) for one in page.items], [SettlementRun.of(one) for one in page.items]
        )
        return made

    @strawberry.field(
        description="A partner's statement of a window: its own, or to finance the named partner's. Null"
        " where there"
        " is none. The files can be fetched too: GET /statements/{businessDate}.csv or .json.",
        extensions=[Requires(*READS_SETTLEMENT)],
        directives=[Cost(weight=20)],
    )
    def statement(
        self,
        info: Info,
        business_date: BusinessDate,
        partner: Annotated[
            str | None,
            strawberry.argument(
                description="Whose, by its code: for finance. A partner gets its own, and leaves it out or"
                " names itself."
            ),
        ] = None,
    ) -> Statement | None:
        """A statement."""
        found = statement_for(info.context, business_date, partner)
        return None if found is None else statement_of(found)

    @strawberry.field(
        description="What will expire and mature in the months to come, by issuer and month, as things stand"
        " now; to a partner what it issued itself.",
        extensions=[Requires(*READS_SETTLEMENT)],
        # It reads every lot there is, once for a request. A year of ten issuers has so many rows.
        directives=[Cost(weight=1_000), ListSize(assumed_size=forecast.MOST_MONTHS)],
    )
    def expiry_forecast(
        self,
        info: Info,
        months: Annotated[int, strawberry.argument(description="How many, from this one on: 1 to 120.")] = 12,
    ) -> list[ForecastMonth]:
        """What finance asks before it happens."""
        if not 1 <= months <= forecast.MOST_MONTHS:
            raise InvalidInput(f"months must be from 1 to {forecast.MOST_MONTHS}", field=("months",))
        context = info.context
        programme = get_programme(context.session)
        found = forecast.up_to(
            context.loaded.forecasts.get(context.viewer.partner_id) or [],
            months=months,
            today=clock.now(context.session).astimezone(programme.tz).date(),
        )
        context.loaded.partners.want(row.issuer_id for row in found)
        return [ForecastMonth.of(row, programme.currency) for row in found]

    @strawberry.field(
        description="Who redeemed whose points in a window; to a partner its own row and column. Null where"
        " the"
        " window was not settled.",
        extensions=[Requires(*READS_SETTLEMENT)],
        directives=[Cost(weight=20)],
    )
    def liability_matrix(self, info: Info, business_date: BusinessDate) -> LiabilityMatrix | None:
        """The matrix."""
        context = info.context
        run = reads.run_in_force(context.session, business_date=business_date)
        own = context.viewer.partner_id
        # Partners are told nothing of a run that is held.
        if run is None or (own is not None and run.state is not reads.RunState.CALCULATED):
            return None
        books = context.books(run)
        return LiabilityMatrix(
            business_date=business_date,
            digest=run.digest,
            cells=[
                cell_of(cell, books.parties, run.currency, to=own)
                for cell in books.matrix
                if own is None or own in (cell.issuer, cell.redeemer)
            ],
        )
