"""currencies

The currencies that brokers settle in and the coins that pairs are quoted in, so that a fresh
database can hold a portfolio. More are added as files name them.

Revision: 5b1c7a90d2e4
After: 324a0e585e16
"""

from collections.abc import Sequence

from alembic import op

revision: str = "5b1c7a90d2e4"
down_revision: str | Sequence[str] | None = "324a0e585e16"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# ISO 4217 code, name, minor units.
FIAT = """
AED UAE dirham 2
ARS Argentine peso 2
AUD Australian dollar 2
BGN Bulgarian lev 2
BRL Brazilian real 2
CAD Canadian dollar 2
CHF Swiss franc 2
CLP Chilean peso 0
CNH Yuan offshore 2
CNY Yuan renminbi 2
COP Colombian peso 2
CZK Czech koruna 2
DKK Danish krone 2
EUR Euro 2
GBP Pound sterling 2
HKD Hong Kong dollar 2
HUF Forint 2
IDR Rupiah 2
ILS New Israeli sheqel 2
INR Indian rupee 2
ISK Iceland krona 0
JPY Yen 0
KRW Won 0
MXN Mexican peso 2
MYR Malaysian ringgit 2
NOK Norwegian krone 2
NZD New Zealand dollar 2
PHP Philippine peso 2
PLN Zloty 2
RON Romanian leu 2
SAR Saudi riyal 2
SEK Swedish krona 2
SGD Singapore dollar 2
THB Baht 2
TRY Turkish lira 2
TWD New Taiwan dollar 2
USD US dollar 2
ZAR Rand 2
"""
CRYPTO = """
BTC Bitcoin 8
ETH Ether 18
SOL Solana 9
USDC USD Coin 6
USDT Tether 6
"""


def upgrade() -> None:
    """Upgrade."""
    op.execute("SET LOCAL lock_timeout = '5s'")
    for kind, table in (("fiat", FIAT), ("crypto", CRYPTO)):
        for line in table.strip().splitlines():
            code, rest = line.split(" ", 1)
            name, units = rest.rsplit(" ", 1)
            op.execute(
                "INSERT INTO market.currencies (code, name, minor_units, kind)"
                f" VALUES ('{code}', '{name}', {units}, '{kind}') ON CONFLICT (code) DO NOTHING"
            )


def downgrade() -> None:
    """Downgrade: the rows go with their table; others may refer to them."""
