"""Which tenants a member of staff sees: all of them, or those that were chosen.

The choice is stored here; PostgreSQL enforces it, see `domain.db.scope.limited_to`.
"""

from collections.abc import Iterable
from uuid import UUID

from domain.audit.recording import record
from domain.db.scope import Reach
from domain.db.unit import Unit, UnitOfWork
from domain.errors import InvalidData
from domain.identity.models import TenantScope, User
from domain.identity.repositories import StaffTenantRepository, UserRepository
from domain.identity.ties import StaffTenant


async def reach_of(unit: Unit, user: User) -> Reach | None:
    """Return the tenants that a member of staff is limited to, None for all of them.

    Args:
        unit: A unit of a trusted job: limited staff do not read this themselves.
        user: The member of staff.
    """
    if user.tenant_scope is TenantScope.ALL:
        return None
    chosen = await unit.repository(StaffTenantRepository).of(user.id)
    return Reach.of((row.tenant_id for row in chosen), user.id)


async def choose_tenants(
    unit: UnitOfWork, user: User, tenants: Iterable[UUID] | None, *, by: str
) -> None:
    """Limit a member of staff to these tenants, or let them see all; it holds from now on.

    Args:
        unit: A transaction of unlimited staff or a trusted job.
        user: The member of staff.
        tenants: Whose data they see; None: all.
        by: Who chose.

    Raises:
        InvalidData: One is nobody, is the member of staff, or there are too many.
        AccessDenied: The unit is limited itself.
    """
    stored = unit.repository(StaffTenantRepository)
    chosen = Reach.of(() if tenants is None else tenants).tenants
    if user.id in chosen:
        raise InvalidData("tenants", user.username, "be others: people see themselves anyway")
    known = await unit.repository(UserRepository).many(chosen)
    if missing := chosen - known.keys():
        raise InvalidData("tenants", min(map(str, missing)), "be users")
    before = {row.tenant_id: row for row in await stored.of(user.id)}
    for tenant in before.keys() - chosen:
        await stored.remove(before[tenant])
    for tenant in sorted(chosen - before.keys()):
        stored.add(StaffTenant(staff_id=user.id, tenant_id=tenant, granted_by=by))
    user.tenant_scope = TenantScope.ALL if tenants is None else TenantScope.CHOSEN
    await unit.flush()
    names = sorted(known[tenant].username for tenant in chosen)
    seen = {"sees": "all"} if tenants is None else {"sees": names}
    await record(
        unit, "tenants-chosen", table="identity.users", key=user.id, user_id=user.id, **seen
    )
