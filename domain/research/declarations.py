"""What the research schema has beside its tables: vectors, and shared metrics."""

from domain.db.objects import Extension, Function, Grant, Policy, declare
from domain.db.orm import Base
from domain.db.roles import ACTING, APP, DESK, READONLY

COSINE = Function(
    schema="research",
    name="cosine",
    arguments="a real[], b real[]",
    returns="double precision",
    language="sql",
    # In double precision throughout: the sums of many small reals lose their last digits.
    body="""
SELECT sum(x::float8 * y) / (sqrt(sum(x::float8 * x)) * sqrt(sum(y::float8 * y)))
FROM unnest(a, b) AS t (x, y)
""",
    options="IMMUTABLE STRICT PARALLEL SAFE",
)
"""The cosine of the angle between two vectors, for servers without pgvector."""

declare(
    Base.metadata,
    Extension("vector", optional=True),
    COSINE,
    *(
        Grant("EXECUTE", "FUNCTION research.cosine(real[], real[])", role)
        for role in (*ACTING, READONLY)
    ),
    # Beside the policy that shows a tenant its own rows; PostgreSQL joins the two with OR.
    Policy("research", "metrics", "shared", APP, command="SELECT", using="user_id IS NULL"),
    Policy("research", "metrics", "shared_desk", DESK, command="SELECT", using="user_id IS NULL"),
)
