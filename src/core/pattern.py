r"""Regular expressions that mean the same in Polars (Rust), Spark (Java) and Python.

Beyond a common core the three differ: Polars has no look-around and no back references, because it searches in
linear time; and `\d`, `\b`, `(?i)`, `a++` or `[a&&b]` are accepted by all and mean something else in each. So a
pattern is held to the core, and its `\d`, `\w`, `\s` and `$` are spelled out.
"""

import re

_SHORTHANDS = {"d": "0-9", "w": "0-9A-Za-z_", "s": " "}
_PIECE = re.compile(
    r"""
      \\[dwsDWS]                                    # a shorthand
    | \\[!-/:;=?@\[-^`{-~]                          # punctuation that stands for itself
    | \[\^?(?:                                     # a set, of
          \\[dws](?!-[^\]])                         #   shorthands, not as the end of a range
        | \\[!-/:;=?@\[-^`{-~]                      #   punctuation
        | (?!--|&&|~~|-\\[dws])[^\\\[\]]           #   characters, without the engines' own operators
      )+\]
    | \((?!\?) | \(\?: | \)                        # groups
    | (?:[*+?]|\{\d{1,2}(?:,\d{0,2})?\})\??(?![*+?{]) # repetition
    | [^\\\[\](){}*+?]                             # any other character; . ^ $ |
    """,
    re.VERBOSE,
)


def portable(pattern: str) -> str:
    """Check that a pattern has exactly one group and keeps to what the three engines read alike (ValueError)."""
    at = 0
    while at < len(pattern):
        piece = _PIECE.match(pattern, at)
        if piece is None:
            raise ValueError(
                f"{pattern[at : at + 4]!r} at character {at + 1} is not what Polars, Spark and Python read alike: "
                "look-around, back references, flags and \\b are not. Use literals, \\ before punctuation, "
                ". ^ $ |, [sets], (a group), (?:...), * + ? {n,m}, \\d (0 to 9), \\w (A to Z, digits, _), \\s (a blank)"
            )
        at = piece.end()
    try:
        groups = re.compile(spelled_out(pattern, r"\Z")).groups
    except (re.error, OverflowError) as error:
        raise ValueError(f"is not a regular expression: {error}") from error
    if groups != 1:
        raise ValueError(f"needs exactly one group (...) around the number, and has {groups}; write others as (?:...)")
    return pattern


def spelled_out(pattern: str, end: str) -> str:
    r"""Write shorthands as sets of ASCII and `$` as `end`: `\z` in Rust and Java, `\Z` in Python."""
    return "".join(_spelled_out(piece[0], end) for piece in _PIECE.finditer(pattern))


def _spelled_out(piece: str, end: str) -> str:
    if piece == "$":
        return end
    if piece.startswith("["):
        return re.sub(r"\\(.)", lambda escape: _SHORTHANDS.get(escape[1], escape[0]), piece)
    if piece[0] == "\\" and piece[1].lower() in _SHORTHANDS:
        return f"[{'^' if piece[1].isupper() else ''}{_SHORTHANDS[piece[1].lower()]}]"
    return piece
