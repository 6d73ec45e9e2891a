"""A small archive in the shape of nof0's files. Every figure in it is invented."""

import json
from typing import Any

START = 1_760_738_400
"""17 October 2025, 22:00 UTC."""


def trip(number: int, **values: Any) -> dict[str, Any]:
    """Return one of nof0's trades: an hour long, its net what gross and commission leave."""
    found = {
        "id": f"gpt-5_{number:04d}",
        "model_id": "gpt-5",
        "symbol": "BTC",
        "side": "long",
        "trade_type": "long",
        "quantity": 0.12,
        "leverage": 10,
        "confidence": 0.62,
        "entry_price": 107067.9,
        "entry_time": START + number * 600 + 0.249,
        "entry_oid": 204_614_807_391 + number,
        "entry_commission_dollars": 5.781667,
        "exit_price": 108000.4,
        "exit_time": START + number * 600 + 3600.842,
        "exit_oid": 212_380_998_540 + number,
        "realized_gross_pnl": 111.9,
        "realized_net_pnl": 100.286313,
        "total_commission_dollars": 11.613687,
        "exit_plan": {"stop_loss": 101234.5},
    }
    return found | values


def held(**values: Any) -> dict[str, Any]:
    """Return one of nof0's open positions."""
    found = {
        "symbol": "ETH",
        "entry_oid": 204_612_596_778,
        "confidence": 0.63,
        "entry_time": START + 867,
        "entry_price": 3860,
        "margin": 1235.436031,
        "leverage": 20,
        "quantity": -6.21,
        "current_price": 3854.15,
        "liquidation_price": 4012.75,
        "commission": 10.79,
        "unrealized_pnl": 36.3285,
        "closed_pnl": -10.79,
        "risk_usd": 600,
    }
    return found | values


def archive() -> dict[str, Any]:
    """Return the documents by file name; every one may be changed before it is written."""
    total = {"model_id": "gpt-5", "realized_pnl": 100.286313, "total_unrealized_pnl": 36.3285}
    return {
        "models.json": {"models": [{"id": "gpt-5", "display_name": "GPT 5"}]},
        "crypto-prices.json": {
            "prices": {
                "BTC": {"symbol": "BTC", "price": 111317.5, "timestamp": START * 1000 + 744},
                "DOGE": {"symbol": "DOGE", "price": 0.195255, "timestamp": START * 1000 + 744},
            },
            "serverTime": START * 1000,
        },
        "trades.json": {
            "trades": [
                trip(1),
                trip(
                    2,
                    quantity=1.5699999999999998,
                    entry_price=3900,
                    exit_price=3950.5,
                    symbol="ETH",
                    realized_gross_pnl=79.28499999999999,
                    realized_net_pnl=60.5,
                ),
                trip(
                    3,
                    side="short",
                    trade_type="short",
                    quantity=-0.12,
                    realized_gross_pnl=-111.9,
                    realized_net_pnl=-123.513687,
                ),
            ],
            "serverTime": START * 1000,
        },
        "positions.json": {"accountTotals": [{"model_id": "gpt-5", "positions": {"ETH": held()}}]},
        "account-totals.json": {
            "accountTotals": [
                {"timestamp": START + 3600 * hour, "dollar_equity": 10_000 + 25.5 * hour, **total}
                for hour in range(0, 72, 12)
            ]
        },
        "since-inception-values.json": {
            "sinceInceptionValues": [
                {"model_id": "gpt-5", "nav_since_inception": 10_000, "inception_date": START - 0.5}
            ]
        },
        "analytics.json": {
            "analytics": [
                {
                    "id": "gpt-5",
                    "model_id": "gpt-5",
                    "updated_at": START + 3.533801,
                    "winners_losers_breakdown_table": {"win_rate": 10.909090909090908},
                }
            ]
        },
        "conversations.json": {
            "conversations": [
                {
                    "model_id": "gpt-5",
                    "messages": [
                        {"role": "system", "content": "You trade.", "timestamp": START},
                        {
                            "role": "assistant",
                            "content": "Short ETH — 63 %.",
                            "timestamp": START + 60,
                        },
                    ],
                }
            ]
        },
    }


def written(documents: dict[str, Any]) -> dict[str, bytes]:
    """Return the documents as files."""
    return {name: json.dumps(document).encode() for name, document in documents.items()}
