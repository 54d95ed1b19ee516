"""`coalition partner agreement`: publish a partner's terms, and look at them."""

import getpass
from datetime import datetime
from decimal import Decimal

import click

from coalition import windows
from coalition.cli import console
from partners.agreements import (
    Agreement,
    Prices,
    PublishAgreement,
    ReturnPolicy,
    funding_model,
    list_agreements,
    publish_agreement,
)
from partners.cli.parameters import DECIMAL, price_option
from partners.directory import get_partner_by_code
from partners.earning import EarnRounding, EarnRule
from partners.expiry import Activity, ActivityWhere, Expiry, ExpiryRule

_COLUMNS = {
    "version": "Version",
    "validFrom": "From",
    "serviceFee": "s",
    "funding": "f",
    "redemptionCharge": "c2",
    "reimbursement": "R",
    "ownReimbursement": "R0",
    "breakageShare": "beta",
    "earns": "Earns",
    "maturityDays": "Matures (days)",
    "expires": "Expires",
    "returnPolicy": "Returns",
}


@click.group()
def agreement() -> None:
    """Publish a partner's terms, and look at them.

    Terms are never edited: the next version supersedes them from its first day on.
    """


@agreement.command()
@click.argument("code")
@click.option(
    "--from",
    "valid_from",
    type=click.DateTime(["%Y-%m-%d"]),
    help="The first day, in the programme's zone; not before the open window's, which is the default.",
)
@price_option("--reimbursement", "R: what the network pays for a point redeemed here.", required=True)
@price_option("--own-reimbursement", "R0: the same for the partner's own points; R if not given.")
@price_option("--service-fee", "s: per point issued, for the network's work.", default="0", show_default=True)
@click.option(
    "--paid-up-front",
    type=DECIMAL,
    metavar="SHARE",
    help="The share of R that issuing pays: 1 pay at issuance (the default), 0 pay at redemption.",
)
@price_option("--funding", "f: per point issued; with --redemption-charge, in place of --paid-up-front.")
@price_option("--redemption-charge", "c2: per point of the partner's lots redeemed anywhere.")
@price_option(
    "--breakage-share", "beta: so much of f comes back when a point expires.", default="0", show_default=True
)
@price_option("--earn-points", "Points for each --earn-amount of money spent; without it, only points.")
@click.option("--earn-amount", type=DECIMAL, default="1", show_default=True, help="That amount of money.")
@click.option(
    "--earn-rounding",
    type=click.Choice([rounding.value for rounding in EarnRounding]),
    default=EarnRounding.DOWN.value,
    show_default=True,
    help="What happens to a part of a point.",
)
@click.option(
    "--maturity-days",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="The return period, in which points cannot be spent.",
)
@click.option(
    "--expiry-rule",
    type=click.Choice([rule.value for rule in ExpiryRule]),
    default=ExpiryRule.TERM.value,
    show_default=True,
    help="The last day of points: after a term; at the end of the month, quarter or year in which it ends;"
    " on a date of each year; or after a term without activity.",
)
@click.option(
    "--expiry-months",
    type=click.IntRange(min=0),
    help="That term; 24 if not given. 0 with the rule term: never.",
)
@click.option(
    "--expiry-date",
    type=click.DateTime(["%Y-%m-%d"]),
    help="With the rule fixed_date: the date, and the same day of each year after it.",
)
@click.option(
    "--activity",
    type=click.Choice([activity.value for activity in Activity]),
    help="With the rule inactivity: what starts the term anew; any if not given.",
)
@click.option(
    "--activity-where",
    type=click.Choice([where.value for where in ActivityWhere]),
    help="With the rule inactivity: at whom; anywhere if not given.",
)
@click.option(
    "--grace-days",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="How long points live that a return of a redemption brings back to a lot that has expired.",
)
@click.option(
    "--return-policy",
    type=click.Choice([policy.value for policy in ReturnPolicy]),
    default=ReturnPolicy.AVAILABLE.value,
    show_default=True,
    help="What a reversed issue takes back: while pending; what is left; all, as a debt if spent.",
)
@console.json_option
def publish(
    code: str,
    *,
    valid_from: datetime | None,
    reimbursement: Decimal,
    own_reimbursement: Decimal | None,
    service_fee: Decimal,
    paid_up_front: Decimal | None,
    funding: Decimal | None,
    redemption_charge: Decimal | None,
    breakage_share: Decimal,
    earn_points: Decimal | None,
    earn_amount: Decimal,
    earn_rounding: str,
    maturity_days: int,
    expiry_rule: str,
    expiry_months: int | None,
    expiry_date: datetime | None,
    activity: str | None,
    activity_where: str | None,
    grace_days: int,
    return_policy: str,
    as_json: bool,
) -> None:
    """Publish the next terms of the partner CODE. Prices are in the programme's currency, per point.

    \b
    Pay at issuance, one point for each unit of money spent:
      coalition partner agreement publish grocer --reimbursement 0.0095 --service-fee 0.0025 \\
          --earn-points 1
    Pay at redemption, from the first of June on, points lapse after a year:
      coalition partner agreement publish fuel --reimbursement 0.0095 --service-fee 0.0025 \\
          --paid-up-front 0 --from 2027-06-01 --expiry-months 12
    Points lapse a year after the member's last purchase here:
      coalition partner agreement publish baker --reimbursement 0.0095 \\
          --expiry-rule inactivity --expiry-months 12 --activity issue --activity-where at_issuer
    """  # noqa: D301 - click's mark of lines to keep
    if paid_up_front is not None and (funding is not None or redemption_charge is not None):
        raise click.UsageError("Give --paid-up-front, or --funding and --redemption-charge.")
    model = funding_model(
        reimbursement=reimbursement,
        service_fee=service_fee,
        paid_up_front=Decimal(1) if paid_up_front is None else paid_up_front,
    )
    prices = Prices(
        service_fee=service_fee,
        funding=_given(funding, model.funding if redemption_charge is None else Decimal(0)),
        redemption_charge=_given(
            redemption_charge, model.redemption_charge if funding is None else Decimal(0)
        ),
        reimbursement=reimbursement,
        own_reimbursement=_given(own_reimbursement, reimbursement),
        breakage_share=breakage_share,
    )
    rule = (
        None
        if earn_points is None
        else EarnRule(points=earn_points, amount=earn_amount, rounding=EarnRounding(earn_rounding))
    )
    with console.open_database() as database, database.unit_of_work() as session:
        partner = get_partner_by_code(session, code)
        first_day = valid_from.date() if valid_from else windows.open_window(session).business_date
        published = publish_agreement(
            session,
            PublishAgreement(
                partner_id=partner.partner_id,
                valid_from=first_day,
                published_by=f"operator {getpass.getuser()}",
                service_fee=prices.service_fee,
                funding=prices.funding,
                redemption_charge=prices.redemption_charge,
                reimbursement=prices.reimbursement,
                own_reimbursement=prices.own_reimbursement,
                breakage_share=prices.breakage_share,
                earn_rule=rule,
                maturity_days=maturity_days,
                expiry=_expiry(expiry_rule, expiry_months, expiry_date, activity, activity_where),
                grace_days=grace_days,
                return_policy=ReturnPolicy(return_policy),
            ),
        )
    warnings = [str(warning) for warning in published.warnings]
    if as_json:
        console.print_json(_row(published.agreement) | {"warnings": warnings})
        return
    console.print_table([_row(published.agreement)], columns=_COLUMNS, title=f"Agreement of {code}")
    for warning in warnings:
        click.echo(f"{click.style('warning', fg='yellow', bold=True)} {warning}", err=True)


@agreement.command(name="list")
@click.argument("code")
@console.json_option
def list_(code: str, as_json: bool) -> None:
    """List all versions of the terms of the partner CODE, the latest first."""
    with console.open_database() as database, database.reading() as session:
        found = list_agreements(session, get_partner_by_code(session, code).partner_id)
    console.print_result(map(_row, found), columns=_COLUMNS, as_json=as_json, title=f"Agreements of {code}")


def _expiry(
    rule: str, months: int | None, day: datetime | None, activity: str | None, where: str | None
) -> Expiry:
    kept = ExpiryRule(rule)
    if months is None and kept is not ExpiryRule.FIXED_DATE:
        months = Expiry().expiry_months
    if kept is ExpiryRule.INACTIVITY:
        activity, where = activity or Activity.ANY.value, where or ActivityWhere.ANYWHERE.value
    return Expiry(
        expiry_rule=kept,
        expiry_months=None if kept is ExpiryRule.TERM and months == 0 else months,
        expiry_date=None if day is None else day.date(),
        activity=None if activity is None else Activity(activity),
        activity_where=None if where is None else ActivityWhere(where),
    )


def _given(value: Decimal | None, otherwise: Decimal) -> Decimal:
    return otherwise if value is None else value


def _row(shown: Agreement) -> dict[str, object]:
    rule = shown.earn_rule
    earns = f"{rule.points:f} per {rule.amount:f}, rounded {rule.rounding.value}" if rule else None
    return {
        "agreementId": str(shown.agreement_id),
        "version": shown.version,
        "validFrom": shown.valid_from.isoformat(),
        # Text: what scripts read must not become a float, and a table shows all six places.
        "serviceFee": f"{shown.service_fee:f}",
        "funding": f"{shown.funding:f}",
        "redemptionCharge": f"{shown.redemption_charge:f}",
        "reimbursement": f"{shown.reimbursement:f}",
        "ownReimbursement": f"{shown.own_reimbursement:f}",
        "breakageShare": f"{shown.breakage_share:f}",
        "earns": earns,
        "maturityDays": shown.maturity_days,
        "expires": shown.expiry.in_words(),
        "expiryRule": shown.expiry.expiry_rule.value,
        "expiryMonths": shown.expiry.expiry_months,
        "expiryDate": shown.expiry.expiry_date,
        "activity": shown.expiry.activity and shown.expiry.activity.value,
        "activityWhere": shown.expiry.activity_where and shown.expiry.activity_where.value,
        "graceDays": shown.grace_days,
        "returnPolicy": shown.return_policy.value,
        "publishedBy": shown.published_by,
    }
