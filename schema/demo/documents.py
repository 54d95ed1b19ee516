"""The operations that the demo sends."""

from __future__ import annotations

from typing import Final

_REFUSALS: Final = "userErrors { code message field }"
_POSTED: Final = f"replayed transaction {{ id points }} balance {{ available }} {_REFUSALS}"

CREATE_PARTNER: Final = (
    f"mutation CreatePartner($input: CreatePartnerInput!)"
    f" {{ createPartner(input: $input) {{ partner {{ id }} {_REFUSALS} }} }}"
)
PUBLISH_AGREEMENT: Final = (
    "mutation PublishAgreement($input: PublishAgreementInput!) { publishAgreement(input: $input)"
    f" {{ agreement {{ version }} warnings {{ issuer redeemer }} {_REFUSALS} }} }}"
)
PUBLISH_FUNDING_PLAN: Final = (
    "mutation PublishFundingPlan($input: PublishFundingPlanInput!)"
    f" {{ publishFundingPlan(input: $input) {{ fundingPlan {{ code }} {_REFUSALS} }} }}"
)
CREATE_CLIENT: Final = (
    "mutation CreateClient($input: CreateClientInput!)"
    f" {{ createClient(input: $input) {{ client {{ clientId }} clientSecret {_REFUSALS} }} }}"
)
ENROLL: Final = (
    "mutation Enroll($input: EnrollMemberInput!)"
    f" {{ enrollMember(input: $input) {{ member {{ id }} {_REFUSALS} }} }}"
)
ISSUE: Final = f"mutation Issue($input: IssuePointsInput!) {{ issuePoints(input: $input) {{ {_POSTED} }} }}"
REDEEM: Final = (
    f"mutation Redeem($input: RedeemPointsInput!) {{ redeemPoints(input: $input) {{ {_POSTED} }} }}"
)
REVERSE: Final = (
    "mutation Reverse($input: ReverseTransactionInput!)"
    f" {{ reverseTransaction(input: $input) {{ {_POSTED} }} }}"
)
CONFIRM: Final = (
    "mutation Confirm($input: ConfirmRedemptionInput!)"
    f" {{ confirmRedemption(input: $input) {{ confirmation {{ id }} {_REFUSALS} }} }}"
)
MEMBER: Final = """
    query MyBalance($by: MemberBy!) {
      member(by: $by) {
        balance {
          available pending deficit asOf
          byIssuer { issuer { name } available pending }
          expiring(within: 1500) { points on issuer { name } }
        }
        transactions(first: 8) { nodes { kind points occurredAt partner { name } explanation } }
      }
    }
"""
