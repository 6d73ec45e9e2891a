"""What an alert says: message templates, checked when a rule is saved, and how they are filled in.

The statement that fires alerts fills in templates itself; a test holds both to the same text.
"""

import re
from collections.abc import Mapping
from typing import Final

from domain.alerts.terms import Condition
from domain.errors import InvalidData

FIELDS: Final[Mapping[str, str]] = {
    "name": "name of the rule",
    "symbol": "ticker, or empty",
    "type": "kind of alert",
    "condition": "the condition in words",
    "threshold": "limit, or empty",
    "threshold_high": "upper limit, or empty",
    "value": "the value that fired",
    "previous": "the value before it, or empty",
    "at": "instant of the value, UTC",
    "note": "what the observer adds, such as a headline",
}
"""The fields a template may name, and what they stand for."""

LONGEST: Final = 2_000
_PART: Final = re.compile(r"\{(?P<field>[a-z_]+)\}|(?P<text>[^{}]+)")
_STATED: Final = "{symbol} {type} is {value}: {condition} {threshold}"
_DEFAULTS: Final[Mapping[Condition, str]] = {
    Condition.BETWEEN: "{symbol} {type} is {value}: between {threshold} and {threshold_high}",
    Condition.OUTSIDE: "{symbol} {type} is {value}: outside {threshold} to {threshold_high}",
    Condition.PCT_CHANGE: "{symbol} {type} moved from {previous} to {value}: {threshold}% or more",
    Condition.CUSTOM: "{name}: {note}",
}


def default_template(condition: Condition) -> str:
    """Return the template of rules that have none of their own."""
    return _DEFAULTS.get(condition, _STATED)


def check_template(template: str) -> str:
    """Return `template` if it can be filled in.

    Raises:
        InvalidData: It is blank or longer than 2,000 characters, names an unknown field, has a
            brace that is no field, or a NUL.

    Example:
        >>> check_template("{symbol} hit {threshold}")
        '{symbol} hit {threshold}'
        >>> check_template("{symbol.__class__}")
        Traceback (most recent call last):
        domain.errors.InvalidData: message_template must hold no brace that is not part of a field such as {symbol}, was '{symbol.__class__}'
    """  # noqa: E501 - the message is one line
    if not template.strip() or len(template) > LONGEST or "\x00" in template:
        rule = f"be 1 to {LONGEST} characters without NUL"
        raise InvalidData("message_template", template, rule)
    for part in _PART.finditer(template):
        if part["field"] is not None and part["field"] not in FIELDS:
            known = ", ".join(FIELDS)
            raise InvalidData("message_template", part["field"], f"name fields among {known}")
    if _PART.sub("", template):
        rule = "hold no brace that is not part of a field such as {symbol}"
        raise InvalidData("message_template", template, rule)
    return template


def fill_in(template: str, values: Mapping[str, str]) -> str:
    """Return `template` with its fields replaced, in one pass: a value is never read again.

    Args:
        template: A checked template.
        values: Texts by field; a missing one is empty.

    Example:
        >>> fill_in("{symbol} is {value}", {"symbol": "{value}", "value": "101.5"})
        '{value} is 101.5'
    """
    return _PART.sub(lambda part: part["text"] or values.get(part["field"] or "", ""), template)
