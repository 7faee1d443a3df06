"""Labels: the id of an order as a Code 128 barcode, and text for the packer, at 203 dpi."""

import io
import textwrap
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID

from psycopg.rows import tuple_row

from bakehouse.database import Connection, act_as, fetch
from bakehouse.errors import BakehouseError

DPI = 203
WIDTHS = {"58mm": 384, "80mm": 576, "custom": 800}  # printable dots for each ticketSize
MARGIN = 16
BARS = 120  # the height of the bars in dots
QUIET = 10  # blank modules on each side of the bars
DETAILS = (("size", "flavour"), ("customer_name",), ("due_date", "delivery_method"), ("priority",))


@dataclass(frozen=True)
class Text:
    top: int
    height: int
    words: str


@dataclass(frozen=True)
class Label:
    """The layout of a label, in dots from the top left."""

    order_id: str
    width: int
    height: int
    texts: tuple[Text, ...]
    top: int  # the top of the bars
    module: int  # the width of the narrowest bar
    turned: bool  # the bars run across the paper


def fetch_facts(
    conn: Connection, account: UUID, order_id: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Call print_barcode as the account. Returns its answer and the print settings of the store."""
    act_as(conn, "authenticated", str(account))
    query: LiteralString = (
        "select printed.facts, public.get_printing_settings(split_part($1, '-', 1))"
        " from public.print_barcode(p_order_id => $1) as printed (facts)"
    )
    [(facts, settings)] = fetch(conn, tuple_row, query, order_id)
    return facts, settings


def arrange(facts: dict[str, Any], width: int) -> Label:
    """Arrange the words, then the bars. The bars are turned if the paper is too narrow."""
    order_id = str(facts["barcode_content"])
    lines: list[tuple[int, int | None, str]] = [(40, None, order_id)]
    lines += [(32, 2, _plain(facts, "product_title"))]
    lines += [(28, 1, _plain(facts, *names)) for names in DETAILS]
    texts, top = [], MARGIN
    for height, most, words in lines:
        room = (width - 2 * MARGIN) * 2 // height  # a letter is half as wide as it is high
        for line in textwrap.wrap(words, room, max_lines=most, placeholder="..."):
            texts.append(Text(top, height, line))
            top += height + height // 4
    top += MARGIN
    modules = 11 * (len(order_id) + 2) + 13 + 2 * QUIET  # an upper limit, with start, check, stop
    module = min(width // modules, 4)
    turned = module < 2  # bars of one dot are blurred in print
    length = modules * max(module, 2)
    height = top + (length if turned else BARS) + MARGIN
    return Label(order_id, width, height, tuple(texts), top, max(module, 2), turned)


def _plain(facts: dict[str, Any], *names: str) -> str:
    """Join these facts. Characters that a printer cannot show become spaces."""
    words = ", ".join(str(facts[name]) for name in names if facts.get(name))
    return "".join(c if c.isprintable() else " " for c in words)


def png(label: Label) -> bytes:
    """Draw the label as a PNG, a pixel for each dot."""
    try:
        from barcode.codex import Code128
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise BakehouseError(
            "usage",
            "labels as PNG need python-barcode and Pillow",
            "Install them: pip install 'bakehouse[label]'. ZPL labels need neither.",
        ) from None
    modules = Code128(label.order_id).build()[0]
    bars = Image.new("1", (len(modules), 1), 1)
    bars.putdata([module == "0" for module in modules])
    bars = bars.resize((len(modules) * label.module, BARS), Image.Resampling.NEAREST)
    if label.turned:
        bars = bars.transpose(Image.Transpose.ROTATE_270)

    page = Image.new("1", (label.width, label.height), 1)
    draw = ImageDraw.Draw(page)
    for text in label.texts:
        font = ImageFont.load_default(text.height)
        draw.text((MARGIN, text.top), text.words, fill=0, font=font)
    left = MARGIN if label.turned else QUIET * label.module
    page.paste(bars, (left, label.top + (QUIET * label.module if label.turned else 0)))
    file = io.BytesIO()
    page.save(file, "PNG", dpi=(DPI, DPI))
    return file.getvalue()


def zpl(label: Label, copies: int = 1) -> bytes:
    """Write the label as commands of a Zebra printer."""
    left = MARGIN if label.turned else QUIET * label.module
    top = label.top + (QUIET * label.module if label.turned else 0)
    commands = [f"^XA^CI28^PW{label.width}^LL{label.height}"]
    commands += [
        f"^FO{MARGIN},{text.top}^A0N,{text.height},{text.height * 4 // 5}{_field(text.words)}"
        for text in label.texts
    ]
    commands += [
        f"^FO{left},{top}^BY{label.module}"
        f"^BC{'R' if label.turned else 'N'},{BARS},N,N,N,A{_field(label.order_id)}",
        f"^PQ{copies}^XZ\n",
    ]
    return "\n".join(commands).encode("ascii")


def _field(text: str) -> str:
    """Encode text so that the printer reads no character as a command."""
    plain = "".join(
        c
        if c.isascii() and (c.isalnum() or c in " -")
        else "".join(f"_{b:02X}" for b in c.encode())
        for c in text
    )
    return f"^FH_^FD{plain}^FS"
