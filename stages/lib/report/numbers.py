"""How the report writes numbers. A space that does not break keeps a number and its unit on one line."""

SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"


def percent(share: float, digits: int = 1) -> str:
    """A share as a percentage.

    >>> percent(0.8417)
    '84.2\\xa0%'
    """
    return f"{100 * share:.{digits}f}{SPACE}%"


def whole(number: float) -> str:
    """An integer with separators.

    >>> whole(50000)
    '50,000'
    """
    return f"{number:,.0f}"


def signed(value: float, digits: int = 3) -> str:
    """A number with its sign.

    >>> signed(-0.5), signed(0.0)
    ('−0.500', '0.000')
    """
    text = f"{value:+.{digits}f}"
    if not text.strip("+-0."):
        return text[1:]
    return text.replace("-", MINUS)


def points(share: float) -> str:
    """A difference between two shares, in percentage points.

    >>> points(0.0079)
    '+0.8'
    """
    return signed(100 * share, 1)


def bytes_of(number: int) -> str:
    """A number of bytes with its unit.

    >>> bytes_of(1_234_567)
    '1.2\\xa0MB'
    """
    for unit, power in (("MB", 1e6), ("kB", 1e3)):
        if number >= power:
            return f"{number / power:.1f}{SPACE}{unit}"
    return f"{number}{SPACE}bytes"
