"""What the operator does about programs: let them in, give them new secrets, shut them out."""

from collections.abc import Callable
from typing import Annotated, Any

import strawberry
from sqlalchemy.orm import Session

from partners import clients, directory
from partners.scopes import Scope
from schema.context import Info
from schema.cost import WRITES
from schema.mutations.once import once
from schema.mutations.payloads import Payload
from schema.objects.clients import Client
from schema.viewer import Requires


@strawberry.input(description="A program that is to be let in.")
class CreateClientInput:
    """A new client."""

    idempotency_key: strawberry.ID = strawberry.field(
        description="Yours, for this wish; its scope is your client."
    )
    name: str = strawberry.field(description="What it is called.")
    partner: str | None = strawberry.field(
        default=None,
        description="The code of the partner in whose name it acts; null: the operator's or finance's.",
    )
    scopes: list[str] = strawberry.field(
        description='What it may do, such as "points:issue". So far "settlement:operate" and'
        ' "settlement:approve" grant what "settlement:read" does and no more.'
    )


@strawberry.input(description="A client.")
class RotateClientSecretInput:
    """Which client."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createClient.")
    client_id: str = strawberry.field(description="Its OAuth client id.")


@strawberry.input(description="A client.")
class RevokeClientInput:
    """Which client."""

    idempotency_key: strawberry.ID = strawberry.field(description="As for createClient.")
    client_id: str = strawberry.field(description="Its OAuth client id.")


@strawberry.type(description="What came of a wish about a client.")
class ClientPayload(Payload):
    """The client."""

    client: Client | None = strawberry.field(description="The client.")


@strawberry.type(description="A client and its secret.")
class ClientSecretPayload(Payload):
    """The secret, this once."""

    client: Client | None = strawberry.field(description="The client.")
    client_secret: str | None = strawberry.field(
        description="The secret, shown this once: only a hash of it is kept, and a replay does not show it."
    )


def _with_secret(info: Info, wish: Any, make: Callable[[Session], clients.NewClient]) -> ClientSecretPayload:
    shown: list[str] = []

    def work(session: Session) -> dict[str, Any]:
        made = make(session)
        shown.append(made.secret)
        return {"client_id": made.client.client_id}

    outcome = once(info.context, wish, work)
    if outcome.value is None:
        return ClientSecretPayload(
            replayed=False, user_errors=outcome.user_errors, client=None, client_secret=None
        )
    result, replayed = outcome.value
    client = clients.get_client(info.context.session, result["client_id"])
    return ClientSecretPayload(
        replayed=replayed,
        user_errors=[],
        client=Client.of(client),
        client_secret=shown[0] if shown and not replayed else None,
    )


@strawberry.type
class ClientMutations:
    """Clients and their secrets."""

    @strawberry.mutation(
        description="Let a program in.", extensions=[Requires(Scope.PROGRAMME_ADMIN)], directives=[WRITES]
    )
    def create_client(
        self,
        info: Info,
        input: Annotated[
            CreateClientInput,
            strawberry.argument(
                description="For whom the program acts, and the scopes that its tokens may have at the most."
            ),
        ],
    ) -> ClientSecretPayload:
        """Create a client."""

        def make(session: Session) -> clients.NewClient:
            partner = None if input.partner is None else directory.get_partner_by_code(session, input.partner)
            return clients.create_client(
                session,
                clients.CreateClient(
                    name=input.name,
                    scopes=input.scopes,
                    partner_id=None if partner is None else partner.partner_id,
                    by=info.context.viewer.client_id,
                ),
            )

        return _with_secret(info, input, make)

    @strawberry.mutation(
        description="Give a client a new secret; the old one is good for nothing from then on.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def rotate_client_secret(
        self,
        info: Info,
        input: Annotated[
            RotateClientSecretInput,
            strawberry.argument(
                description="Which client, and your key: sent again it rotates nothing anew, and shows no"
                " secret."
            ),
        ],
    ) -> ClientSecretPayload:
        """Rotate a secret."""
        by = info.context.viewer.client_id
        return _with_secret(
            info, input, lambda session: clients.rotate_secret(session, input.client_id, by=by)
        )

    @strawberry.mutation(
        description="Shut a client out for good, its tokens within two seconds.",
        extensions=[Requires(Scope.PROGRAMME_ADMIN)],
        directives=[WRITES],
    )
    def revoke_client(
        self,
        info: Info,
        input: Annotated[
            RevokeClientInput,
            strawberry.argument(description="Which client is shut out; there is no way back for it."),
        ],
    ) -> ClientPayload:
        """Revoke a client."""

        def revoke(session: Session) -> dict[str, Any]:
            return {"client_id": clients.revoke_client(session, input.client_id).client_id}

        outcome = once(info.context, input, revoke)
        if outcome.value is None:
            return ClientPayload(replayed=False, user_errors=outcome.user_errors, client=None)
        result, replayed = outcome.value
        client = clients.get_client(info.context.session, result["client_id"])
        return ClientPayload(replayed=replayed, user_errors=[], client=Client.of(client))
