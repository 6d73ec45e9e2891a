"""Foreign keys that keep a tree of rows inside one tenant."""

from sqlalchemy import ForeignKeyConstraint

SCHEMA = "trading"


def in_portfolio() -> ForeignKeyConstraint:
    """Return the key to the portfolio that a row belongs to."""
    return ForeignKeyConstraint(
        ["user_id", "portfolio_id"],
        ["trading.portfolios.user_id", "trading.portfolios.id"],
        ondelete="RESTRICT",
    )


def to_trade(column: str) -> ForeignKeyConstraint:
    """Return the key from `column` to a trade."""
    return ForeignKeyConstraint(
        ["user_id", column], ["trading.trades.user_id", "trading.trades.id"]
    )


def of_position() -> ForeignKeyConstraint:
    """Return the key to the position that a row is part of; it goes with it."""
    return ForeignKeyConstraint(
        ["user_id", "position_id"],
        ["trading.positions.user_id", "trading.positions.id"],
        ondelete="CASCADE",
    )
