"""The closed vocabularies of trading: sides, trade kinds, methods, policies. No logic, no I/O."""

from enum import StrEnum


class Side(StrEnum):
    """Direction of a trade."""

    BUY = "buy"
    SELL = "sell"


class TradeKind(StrEnum):
    """What made the trade happen.

    ``EXPIRATION`` may come without a side: it closes whatever is open. ``CONVERSION_OUT`` and
    ``CONVERSION_IN`` are the two legs of a symbol change, merger, spin-off or broker-booked split:
    cost basis, fees and acquisition dates move from one leg to the other and nothing is realized.
    ``BUST`` is the record that an earlier trade never was.
    """

    FILL = "fill"
    EXPIRATION = "expiration"
    ASSIGNMENT = "assignment"
    EXERCISE = "exercise"
    CASH_SETTLEMENT = "cash_settlement"
    LIQUIDATION = "liquidation"
    TRANSFER_IN = "transfer_in"
    TRANSFER_OUT = "transfer_out"
    OPENING_BALANCE = "opening_balance"
    CONVERSION_OUT = "conversion_out"
    CONVERSION_IN = "conversion_in"
    ADJUSTMENT = "adjustment"
    BUST = "bust"


class CostBasisMethod(StrEnum):
    """Which lots a closing trade consumes."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"
    LOFO = "lofo"
    AVERAGE = "average"
    SPECIFIC = "specific"


class AssignmentPolicy(StrEnum):
    """Where an option's premium goes when the option is assigned or exercised."""

    SEPARATE = "separate"
    ROLL_INTO_UNDERLYING = "roll_into_underlying"


class PositionMode(StrEnum):
    """One position an instrument, or one per position reference."""

    NETTING = "netting"
    HEDGING = "hedging"


class CashModel(StrEnum):
    """Whether a trade moves its whole value in cash, or only realized profit and fees."""

    UPFRONT = "upfront"
    MARGINED = "margined"


class CashKind(StrEnum):
    """Why cash moved."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    TRADE = "trade"
    COMMISSION = "commission"
    FEE = "fee"
    DIVIDEND = "dividend"
    DIVIDEND_IN_LIEU = "dividend_in_lieu"
    WITHHOLDING_TAX = "withholding_tax"
    INTEREST = "interest"
    MARGIN_INTEREST = "margin_interest"
    BORROW_FEE = "borrow_fee"
    STOCK_LENDING = "stock_lending"
    FUNDING = "funding"
    VARIATION_MARGIN = "variation_margin"
    FX = "fx"
    TRANSFER = "transfer"
    TAX = "tax"
    ADJUSTMENT = "adjustment"
    CASH_IN_LIEU = "cash_in_lieu"
    STAKING = "staking"
    AIRDROP = "airdrop"
    OPENING_BALANCE = "opening_balance"


class PositionEffect(StrEnum):
    """Whether the broker says that a trade opens or closes."""

    OPEN = "open"
    CLOSE = "close"
