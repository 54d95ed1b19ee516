"""Windows: every posting is in exactly one, and what is sealed stays as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coalition.audit.finding import Finding, findings, scalars

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session


def programme_has_one_open_window(session: Session) -> Iterator[Finding]:
    """One programme, one open window; and nothing without a programme."""
    query = """
    WITH counted AS (
        SELECT (SELECT count(*) FROM ledger.programme) AS programmes,
               (SELECT count(*) FROM ledger.settlement_window) AS windows,
               (SELECT count(*) FROM ledger.settlement_window WHERE state = 'open') AS open_windows,
               (SELECT EXISTS (SELECT FROM ledger.transaction)) AS has_postings
    )
    SELECT NULL::text AS id,
           format('there are %s programmes with %s open windows of %s', programmes, open_windows, windows)
                   AS message
      FROM counted
     WHERE (programmes, open_windows) <> (1, 1)
       AND NOT (programmes = 0 AND windows = 0 AND NOT has_postings)
    """
    return findings(programme_has_one_open_window, session, subject="settlement_window", query=query)


def windows_follow_each_other(session: Session) -> Iterator[Finding]:
    """A window opens in the moment in which the one before it closes, and only the last is open."""
    query = """
    WITH ordered AS (
        SELECT w.*, lag(business_date) OVER earlier AS date_before, lag(closed_at)
                OVER earlier AS closed_before,
               lead(business_date) OVER earlier AS date_after
          FROM ledger.settlement_window w
        WINDOW earlier AS (ORDER BY business_date)
    )
    SELECT business_date::text AS id,
           CASE WHEN date_before IS NOT NULL AND closed_before IS DISTINCT FROM opened_at THEN
                    format('opened at %s, window %s closed at %s', opened_at, date_before,
                           coalesce(closed_before::text, 'no time'))
                WHEN (state = 'open') <> (date_after IS NULL) THEN
                    format('is %s, and window %s follows it', state, coalesce(date_after::text, 'none'))
                ELSE format('opened at %s, closed at %s, sealed at %s', opened_at, closed_at, sealed_at)
           END AS message
      FROM ordered
     WHERE (date_before IS NOT NULL AND closed_before IS DISTINCT FROM opened_at)
        OR (state = 'open') <> (date_after IS NULL)
        OR closed_at < opened_at OR sealed_at < closed_at
     ORDER BY 1
    """
    return findings(windows_follow_each_other, session, subject="settlement_window", query=query)


def postings_are_in_their_window(session: Session) -> Iterator[Finding]:
    """Invariant 6: a transaction was recorded while its window was open; late if it occurred before that.

    By a till's clock, which may be five minutes ahead, and no more.
    """
    query = """
    SELECT concat_ws('/', t.member_id, t.business_date, t.transaction_id) AS id,
           CASE WHEN w.business_date IS NULL THEN 'there is no window of that date'
                WHEN t.recorded_at < w.opened_at THEN
                    format('recorded at %s, its window opened at %s', t.recorded_at, w.opened_at)
                WHEN t.recorded_at > w.closed_at THEN
                    format('recorded at %s, its window closed at %s', t.recorded_at, w.closed_at)
                WHEN t.recorded_at > p.now THEN
                    format('recorded at %s, the programme''s time is %s', t.recorded_at, p.now)
                WHEN t.occurred_at > t.recorded_at + interval '5 minutes' THEN
                    format('occurred at %s, recorded at %s', t.occurred_at, t.recorded_at)
                ELSE format('occurred at %s, its window opened at %s, and it is %s', t.occurred_at,
                        w.opened_at,
                            CASE WHEN t.late THEN 'called late' ELSE 'not called late' END)
           END AS message
      FROM ledger.transaction t
      LEFT JOIN ledger.settlement_window w USING (business_date)
      LEFT JOIN (SELECT coalesce(clock_at, clock_timestamp()) AS now FROM ledger.programme) p ON true
     WHERE w.business_date IS NULL OR t.recorded_at < w.opened_at OR t.recorded_at > w.closed_at
        OR t.recorded_at > p.now OR t.occurred_at > t.recorded_at + interval '5 minutes'
        OR t.late <> (t.occurred_at < w.opened_at)
     ORDER BY 1
    """
    return findings(postings_are_in_their_window, session, subject="transaction", query=query)


def sealed_windows_are_unchanged(session: Session) -> Iterator[Finding]:
    """Invariant 6: counted again, a sealed window has the totals that were stored when it was sealed."""
    query = """
    WITH counted AS (
        SELECT business_date, count(*) AS transactions FROM ledger.transaction GROUP BY business_date
    ), entered AS (
        SELECT business_date, count(*) AS entries FROM ledger.entry GROUP BY business_date
    )
    SELECT w.business_date::text AS id,
           format('sealed with %s transactions and %s entries, it has %s and %s', w.transactions, w.entries,
                  coalesce(c.transactions, 0), coalesce(e.entries, 0)) AS message
      FROM ledger.settlement_window w
      LEFT JOIN counted c USING (business_date)
      LEFT JOIN entered e USING (business_date)
     WHERE w.state = 'sealed'
       AND (w.transactions, w.entries) IS DISTINCT FROM (coalesce(c.transactions, 0), coalesce(e.entries, 0))
     ORDER BY 1
    """
    return findings(sealed_windows_are_unchanged, session, subject="settlement_window", query=query)


def control_totals_hold(session: Session) -> Iterator[Finding]:
    """Invariant 6: the points of each kind and bucket in a sealed window are those that were stored."""
    query = """
    WITH recounted AS (
        SELECT e.business_date, t.kind, e.bucket, count(*) AS entries, sum(e.points) AS points
          FROM ledger.entry e
          JOIN ledger.transaction t USING (member_id, business_date, transaction_id)
          JOIN ledger.settlement_window w USING (business_date)
         WHERE w.state = 'sealed'
         GROUP BY e.business_date, t.kind, e.bucket
    )
    SELECT concat_ws('/', business_date, kind, bucket) AS id,
           format('sealed with %s entries of %s points, it has %s of %s', coalesce(s.entries, 0),
                   coalesce(s.points, 0),
                  coalesce(r.entries, 0), coalesce(r.points, 0)) AS message
      FROM ledger.window_total s
      FULL JOIN recounted r USING (business_date, kind, bucket)
     WHERE (s.entries, s.points) IS DISTINCT FROM (r.entries, r.points)
     ORDER BY 1
    """
    return findings(control_totals_hold, session, subject="window_total", query=query)


def default_partitions_are_empty(session: Session) -> Iterator[Finding]:
    """No posting fell outside the partitions that the night makes ahead."""
    query = """
    SELECT format('%I.%I', n.nspname, c.relname)
      FROM pg_partitioned_table p
      JOIN pg_class c ON c.oid = p.partdefid
      JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE n.nspname = 'ledger'
     ORDER BY 1
    """
    for partition in scalars(session, query):
        # The name comes from the catalogue, quoted by it.
        [rows] = scalars(session, f"SELECT count(*) FROM {partition}")  # noqa: S608
        if rows:
            yield Finding(
                check=default_partitions_are_empty.__name__,
                subject=partition.removeprefix("ledger."),
                id="",
                message=f"{rows} rows are of a date that has no partition of its own",
            )
