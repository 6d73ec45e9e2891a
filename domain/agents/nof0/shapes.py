"""Our rows as nof0's API answers them. Pure: entities in, dicts with Decimals out.

`domain.db.exact_json.dumps` writes them, decimals as numbers or as strings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, TypeAlias

from domain.agents.models import Agent, Message, Standing
from domain.agents.nof0.times import milliseconds, seconds
from domain.market.models import LatestPrice
from domain.money import exact
from domain.trading.models import EquitySnapshot, Position, Trade

Json: TypeAlias = dict[str, Any]

SOURCE: Final = "nof0"
"""The source of trades, cash and prices that came out of nof0's files."""


@dataclass(frozen=True, slots=True)
class Trip:
    """A position with the trades that opened it and came last.

    Args:
        agent: Who traded.
        symbol: What.
        position: The cycle; closed, for a round trip.
        opening: Its first trade.
        last: Its last trade.
    """

    agent: Agent
    symbol: str
    position: Position
    opening: Trade | None
    last: Trade | None

    @property
    def is_imported(self) -> bool:
        """Whether nof0's own row was booked as these two trades: its prices are theirs."""
        both = (self.opening, self.last)
        return all(trade is not None and trade.source == SOURCE for trade in both)


def crypto_prices(prices: Iterable[LatestPrice], *, server_time: datetime) -> Json:
    """Return ``crypto-prices``; the prices come with their instruments, one a symbol."""
    return {
        "prices": {price.instrument.symbol: price_of(price) for price in prices},
        "serverTime": milliseconds(server_time),
    }


def price_of(price: LatestPrice) -> Json:
    """Return one price: symbol, price, and its time in milliseconds."""
    return {
        "symbol": price.instrument.symbol,
        "price": price.price,
        "timestamp": milliseconds(price.time),
    }


def leaderboard(standings: Iterable[Standing]) -> Json:
    """Return ``leaderboard``: nine figures a model; null where one is not defined."""
    return {"leaderboard": [_standing(line) for line in standings]}


def _standing(line: Standing) -> Json:
    return {
        "id": line.agent.slug,
        "num_trades": line.num_trades,
        "sharpe": line.sharpe,
        "win_dollars": line.win_dollars,
        "num_losses": line.num_losses,
        "lose_dollars": line.lose_dollars,
        "return_pct": line.return_pct,
        "equity": line.equity,
        "num_wins": line.num_wins,
    }


def trades(trips: Iterable[Trip], *, server_time: datetime) -> Json:
    """Return ``trades``: round trips, quantities negative for short ones."""
    return {"trades": [_trade(trip) for trip in trips], "serverTime": milliseconds(server_time)}


def _trade(trip: Trip) -> Json:
    position = trip.position
    assert position.closed_at is not None  # noqa: S101 - a CHECK: closed has a time
    return {
        "id": position.position_ref or str(position.id),
        "model_id": trip.agent.slug,
        "symbol": trip.symbol,
        "side": position.side,
        "trade_type": position.side,
        "quantity": position.peak_quantity if position.side == "long" else -position.peak_quantity,
        **_chosen(trip),
        **_ends(trip),
        "entry_time": seconds(position.opened_at),
        "exit_time": seconds(position.closed_at),
        "entry_ts_ms": milliseconds(position.opened_at),
        "exit_ts_ms": milliseconds(position.closed_at),
        "realized_gross_pnl": position.realized_gross_pnl,
        "realized_net_pnl": position.realized_pnl,
        "entry_oid": _oid(trip.opening),
        "exit_oid": _oid(trip.last),
    }


def _chosen(trip: Trip) -> Json:
    """Return leverage and confidence: the position's, else those its first trade was made with."""
    opening = trip.opening
    return {
        name: getattr(opening, name)
        if opening and getattr(trip.position, name) is None
        else getattr(trip.position, name)
        for name in ("leverage", "confidence")
    }


def _ends(trip: Trip) -> Json:
    position, opening, last = trip.position, trip.opening, trip.last
    if opening and last and trip.is_imported:
        # Averages are divided, and nof0's net is what the venue paid: its own figures are in these.
        with exact():
            commission = opening.commission + last.commission
        prices = {"entry_price": opening.price, "exit_price": last.price}
        return {**prices, "total_commission_dollars": commission}
    return {
        "entry_price": position.entry_price,
        "exit_price": position.exit_price,
        "total_commission_dollars": position.realized_fees,
    }


def _oid(trade: Trade | None) -> int | str | None:
    found = trade.external_id if trade else None
    return int(found) if found and found.isascii() and found.isdecimal() else found


def positions(open_trips: Mapping[Agent, Sequence[Trip]], *, server_time: datetime) -> Json:
    """Return ``positions``: open positions by model and symbol."""
    return {
        "accountTotals": [
            {"model_id": agent.slug, "positions": by_symbol(trips)}
            for agent, trips in open_trips.items()
        ],
        "serverTime": milliseconds(server_time),
    }


def by_symbol(trips: Iterable[Trip]) -> Json:
    """Return open positions by symbol; a second one of a symbol has its reference behind it."""
    found: Json = {}
    for trip in trips:
        reference = trip.position.position_ref or trip.position.strategy or trip.position.id
        name = trip.symbol if trip.symbol not in found else f"{trip.symbol}:{reference}"
        found[name] = _position(trip)
    return found


def _position(trip: Trip) -> Json:
    position = trip.position
    with exact():
        # nof0 counts the fees of opening as realized, so that the sum of both is the same.
        closed = position.realized_pnl - position.open_fees
        paper = position.unrealized_pnl
        unrealized = None if paper is None else paper + position.open_fees
    return {
        "symbol": trip.symbol,
        "quantity": position.quantity,
        "entry_price": position.entry_price,
        "entry_time": seconds(position.opened_at),
        "entry_ts_ms": milliseconds(position.opened_at),
        "entry_oid": _oid(trip.opening),
        "current_price": position.current_price,
        "unrealized_pnl": unrealized,
        "closed_pnl": closed,
        "commission": position.open_fees,
        "margin": position.margin_used,
        "liquidation_price": position.liquidation_price,
        "status": str(position.status),
        **_chosen(trip),
    }


def since_inception(points: Iterable[tuple[datetime, Decimal]]) -> list[Json]:
    """Return one model's track record: timestamp in milliseconds, value."""
    return [{"timestamp": milliseconds(time), "value": value} for time, value in points]


def since_inception_values(
    starts: Mapping[Agent, tuple[datetime, Decimal, int]], *, server_time: datetime
) -> Json:
    """Return ``since-inception-values`` from (first capital at, how much, answers since)."""
    return {
        "sinceInceptionValues": [
            {
                "id": str(agent.id),
                "model_id": agent.slug,
                "nav_since_inception": capital,
                "inception_date": seconds(time),
                "num_invocations": invocations,
            }
            for agent, (time, capital, invocations) in starts.items()
        ],
        "serverTime": milliseconds(server_time),
    }


def account_totals(
    newest: Mapping[Agent, EquitySnapshot],
    open_trips: Mapping[Agent, Sequence[Trip]],
    standings: Mapping[Agent, Standing],
    *,
    server_time: datetime,
) -> Json:
    """Return ``account-totals``: the newest snapshot of each model with its open positions."""
    return {
        "accountTotals": [
            {
                "id": f"{agent.slug}_{milliseconds(snapshot.time)}",
                "model_id": agent.slug,
                "timestamp": seconds(snapshot.time),
                "dollar_equity": snapshot.equity,
                "realized_pnl": snapshot.realized_pnl,
                "total_unrealized_pnl": snapshot.unrealized_pnl,
                "cum_pnl_pct": standings[agent].return_pct if agent in standings else None,
                "sharpe_ratio": standings[agent].sharpe if agent in standings else None,
                "positions": by_symbol(open_trips.get(agent, ())),
            }
            for agent, snapshot in newest.items()
        ],
        "serverTime": milliseconds(server_time),
    }


def analytics(payloads: Iterable[Mapping[str, Any]], *, server_time: datetime) -> Json:
    """Return ``analytics``: the payloads as they were stored."""
    return {"analytics": list(payloads), "serverTime": milliseconds(server_time)}


def conversations(
    spoken: Iterable[tuple[Agent, Sequence[Message]]], *, server_time: datetime
) -> Json:
    """Return ``conversations``; timestamps are seconds."""
    return {
        "conversations": [
            {"model_id": agent.slug, "messages": [_message(message) for message in messages]}
            for agent, messages in spoken
        ],
        "serverTime": milliseconds(server_time),
    }


def _message(message: Message) -> Json:
    return {
        "role": str(message.role),
        "content": message.content,
        "timestamp": seconds(message.time),
    }
