"""GET /v1/audit, for admins. Nothing changes or deletes an entry."""

from api.audit.schemas import AuditPage, AuditQuery, AuditView
from api.auth import Access
from api.room import Answer, Room
from api.services import get_services
from models.audit import list_entries

room = Room("audit", "What operators and admins did.")


@room.endpoint("get", "/audit", access=Access.ADMIN, answers={200: AuditPage})
def list_audit(query: AuditQuery) -> Answer:
    """List what operators and admins did, newest first."""
    with get_services().reader() as session:
        rows = list_entries(session, subject=query.subject, limit=query.limit + 1, before_id=query.cursor)
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    items = [AuditView.model_validate(row, from_attributes=True) for row in rows]
    return Answer(AuditPage(items=items, cursor=str(rows[-1].id) if more else None))
