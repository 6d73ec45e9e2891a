"""The demo's articles. All of them are invented, and so say their source and their addresses."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from domain.database import Worker
from domain.news.articles import NewArticle, ingest_articles
from domain.news.models import Article

SOURCE: Final = "invented"
_FIRST: Final = datetime(2021, 3, 22, 13, 5, tzinfo=UTC)

# (hours after the first, headline, summary, sentiment, tickers)
_ARTICLES: Final = (
    (0, "Chip makers warn of longer delivery times", "Phones and cars wait.", "-0.3", ("AAPL",)),
    (26, "Apple suppliers raise forecasts", "Orders for tablets grow.", "0.5", ("AAPL",)),
    (49, "Oil slips as a canal is blocked and demand is doubted", None, "-0.2", ("USO",)),
    (73, "IBM to rent out its quantum computers", "By the hour.", "0.2", ("IBM",)),
    (98, "Rates stay where they are, says a central banker", "No hike in sight.", "0.1", ("SPY",)),
    (122, "Search company wins a long copyright case", "After ten years.", "0.6", ("GOOG",)),
    (150, "Stocks end a strong quarter near their highs", None, "0.7", ("SPY", "AAPL", "GOOG")),
    (171, "Bitcoin accepted for coffee", "One café so far.", "0.3", ("BTC-USD",)),
)


async def load(unit: Worker) -> Sequence[Article]:
    """Store the articles with their instruments and return them."""
    done = await ingest_articles(
        unit,
        [
            NewArticle(
                title=title,
                url=f"https://news.invalid/{SOURCE}/{number}",
                published_at=_FIRST + timedelta(hours=hours),
                source=SOURCE,
                author="Nobody",
                description=summary,
                sentiment=Decimal(sentiment),
                symbols=symbols,
            )
            for number, (hours, title, summary, sentiment, symbols) in enumerate(_ARTICLES, 1)
        ],
    )
    return done.new
