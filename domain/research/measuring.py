"""Writes metrics: one value or many, each series and instant once."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from domain.clock import as_utc, now
from domain.db import bulk
from domain.db.unit import UnitOfWork
from domain.errors import InvalidData
from domain.money import checked
from domain.research.models import Metric

_KEY: Final = ("metric_name", "labels_hash", "time")


@dataclass(frozen=True, slots=True)
class NewMetric:
    """One value to write.

    Args:
        name: What is measured, a lower-case word: portfolio_value, volatility_20d.
        value: An exact number; for a float use ``quantized(Decimal(str(number)))``.
        labels: Tells series of one name apart: words to words.
        time: When it was measured, aware; default now.
    """

    name: str
    value: Decimal | int
    labels: Mapping[str, str] = field(default_factory=dict)
    time: datetime | None = None


async def insert_metric(
    unit: UnitOfWork,
    name: str,
    value: Decimal | int,
    *,
    labels: Mapping[str, str] | None = None,
    time: datetime | None = None,
) -> Metric:
    """Write one value; the same series and instant again overwrites it.

    A tenant's unit writes its own series, a trusted one series that everybody reads.

    Raises:
        InvalidData: The value is a float, the time naive, or a label no text.
    """
    (metric,) = await insert_metrics(unit, [NewMetric(name, value, labels or {}, time)])
    return metric


async def insert_metrics(
    unit: UnitOfWork, metrics: Iterable[NewMetric], *, user_id: UUID | None = None
) -> Sequence[Metric]:
    """Write many values, all or none; of several for one series and instant the last counts.

    Args:
        unit: A tenant's unit writes its own series.
        metrics: The values.
        user_id: Whose they are, in a unit without tenant; None: everybody reads them.

    Raises:
        InvalidData: As `insert_metric`.
    """
    owner = unit.user_id if unit.user_id is not None else user_id
    instant = now()
    rows: dict[tuple[str, str, datetime], dict[str, Any]] = {}
    for metric in metrics:
        row = _row(metric, owner, instant)
        series = json.dumps(row["labels"], sort_keys=True)
        rows[metric.name, series, row["time"]] = row
    written: list[Metric] = []
    unique = list(rows.values())
    for start in range(0, len(unique), bulk.BATCH):
        batch = unique[start : start + bulk.BATCH]
        written.extend(await bulk.upsert_returning(unit.session, Metric, batch, key=_KEY))
    return written


def _row(metric: NewMetric, owner: UUID | None, instant: datetime) -> dict[str, Any]:
    for name, label in metric.labels.items():
        if not isinstance(name, str) or not isinstance(label, str) or "\x00" in name + label:
            raise InvalidData("labels", {name: label}, "map words to words without NUL")
    return {
        "metric_name": metric.name,
        "time": instant if metric.time is None else as_utc(metric.time),
        "value": checked(metric.value, "value"),
        "labels": dict(metric.labels),
        "user_id": owner,
    }
