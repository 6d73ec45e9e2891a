"""What the news schema has beside its tables: the newest vintage of every observation."""

from typing import Final

from domain.db.objects import View, declare
from domain.db.orm import Base

LATEST_RELEASES: Final = View(
    schema="news",
    name="latest_releases",
    comment="The newest vintage of every observation of every economic series",
    definition="""
SELECT DISTINCT ON (r.symbol, r.observed_on)
       r.symbol,
       r.observed_on,
       r.vintage_on,
       r.value,
       r.is_preliminary,
       r.source
  FROM news.economic_releases r
 ORDER BY r.symbol, r.observed_on, r.vintage_on DESC
""",
)

declare(Base.metadata, LATEST_RELEASES)
