"""Tables for a terminal of 80 columns, of texts that people typed.

rich takes a tenth of a second to import: it waits until something is printed, as the service prints nothing.
"""

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

# What is torn apart by wrapping cannot be copied or compared.
WHOLE = frozenset({"dataset", "version", "stage", "when", "since", "MLflow"})


def table(title: str, *columns: str) -> "Table":
    """Make a table without vertical lines, which would cost the texts their room."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    made = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    # A title wraps at its table's width.
    made.min_width = min(len(title), 60)
    for column in columns:
        made.add_column(column, no_wrap=column in WHOLE, overflow="fold")
    return made


def cells(*values: str) -> "list[Text]":
    """Wrap texts so that square brackets stay brackets and no escape sequence reaches the terminal."""
    from rich.text import Text

    return [Text("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)) for value in values]


def console(width: int) -> "Console":
    """Return where tables are printed; a file, a pipe or a scheduler's log has no width of its own: so many columns."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width)


def print_table(made: "Table", empty: str = "") -> None:
    """Print a table and an empty line after it, or `empty` where it has no row."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if made.row_count:
        console.print(made)
        console.print()
    elif empty:
        console.print(Text(empty))
