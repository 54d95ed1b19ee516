"""OAuth clients: the programs that the operator has let in."""

import datetime as dt

import strawberry

from coalition.ids import PartnerId
from partners import clients
from schema.context import Info
from schema.cost import FEW
from schema.ids import to_global
from schema.objects.nodes import Node
from schema.objects.partners import Partner, partner_of


@strawberry.type(
    description="A program that may fetch tokens, for a partner or for the network's own people."
)
class Client(Node):
    """A client; its secret is not among what is stored."""

    partner_id: strawberry.Private[PartnerId | None]
    client_id: str = strawberry.field(description="Its OAuth client id.")
    name: str = strawberry.field(description="What it is called.")
    scopes: list[str] = strawberry.field(description="What its tokens can be good for.", directives=[FEW])
    created_at: dt.datetime = strawberry.field(description="When it was let in.")
    secret_rotated_at: dt.datetime = strawberry.field(description="Since when its secret is the one it is.")
    revoked_at: dt.datetime | None = strawberry.field(description="When it was shut out; null: it was not.")

    @strawberry.field(description="In whose name it acts; null: the operator's or finance's.")
    def partner(self, info: Info) -> Partner | None:
        """The partner."""
        return partner_of(info, self.partner_id)

    @classmethod
    def of(cls, client: clients.Client) -> "Client":
        """As the API shows it."""
        return cls(
            id=to_global("Client", client.client_id),
            partner_id=client.partner_id,
            client_id=client.client_id,
            name=client.name,
            scopes=sorted(scope.value for scope in client.scopes),
            created_at=client.created_at,
            secret_rotated_at=client.secret_rotated_at,
            revoked_at=client.revoked_at,
        )
