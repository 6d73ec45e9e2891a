"""What is asked about alerts."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy.orm import joinedload

from domain.alerts.models import Alert, AlertEvent
from domain.alerts.terms import AlertStatus
from domain.db.page import Page
from domain.db.repository import Repository


class AlertRepository(Repository[Alert]):
    """Rules."""

    async def enabled(self, alert_type: str | None = None) -> Sequence[Alert]:
        """Return the rules that are watched, with their instruments, oldest first.

        Args:
            alert_type: Only rules of this kind.
        """
        statement = self.query(Alert.status == AlertStatus.ACTIVE)
        if alert_type is not None:
            statement = statement.where(Alert.alert_type == alert_type)
        return await self.all(statement.options(joinedload(Alert.instrument)).order_by(Alert.id))

    async def watching(self, instrument_id: UUID) -> Sequence[Alert]:
        """Return the rules that are watched for this instrument, oldest first."""
        statement = self.query(
            Alert.instrument_id == instrument_id, Alert.status == AlertStatus.ACTIVE
        )
        return await self.all(statement.order_by(Alert.id))


class AlertEventRepository(Repository[AlertEvent]):
    """Firings of rules, and what programs reported."""

    async def history(
        self, alert: Alert | None = None, *, limit: int = 50, after: str | None = None
    ) -> Page[AlertEvent]:
        """Return a page of events with their instruments, newest first.

        Args:
            alert: Only firings of this rule.
            limit: Events a page, 1 to 1,000.
            after: Cursor of the previous page's end.
        """
        statement = self.query().options(joinedload(AlertEvent.instrument))
        if alert is not None:
            statement = statement.where(
                AlertEvent.user_id == alert.user_id, AlertEvent.alert_id == alert.id
            )
        newest = statement.order_by(AlertEvent.triggered_at.desc(), AlertEvent.id.desc())
        return await self.page(newest, limit=limit, after=after)

    async def unacknowledged(self, *, limit: int = 50) -> Sequence[AlertEvent]:
        """Return the newest events that nobody has seen."""
        statement = self.query(AlertEvent.acknowledged.is_(False))
        newest = statement.order_by(AlertEvent.triggered_at.desc(), AlertEvent.id.desc())
        return await self.all(newest.limit(limit))
