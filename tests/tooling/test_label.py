"""Another decoder reads the labels, and must find exactly the id of the order."""

import io
import re
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import zxingcpp
from PIL import Image

from bakehouse.shop import label
from command import Project
from rows import make_order, make_staff, values

ROOT = Path(__file__).parents[2]
HOSTILE = "^XZ~JA^FS_5E \\& >;>6 Crème brûlée 蛋糕 \x1b\n" + "long " * 40
IDS = [
    "bannos-1",
    "bannos-18617",
    "flourlane-18617-AB",
    "bannos-B55555",
    "my_shop-5800000018617-ABC",
]
PAPERS = pytest.mark.parametrize("paper", label.WIDTHS)


def facts(order_id: str, words: str = "Birthday Cake") -> dict[str, Any]:
    names = ("product_title", "size", "flavour", "customer_name", "due_date", "delivery_method")
    return {"barcode_content": order_id, "priority": "HIGH"} | dict.fromkeys(names, words)


def decode(png: bytes) -> list[tuple[str, str]]:
    found = zxingcpp.read_barcodes(Image.open(io.BytesIO(png)).convert("L"))
    return [(one.text, str(one.format)) for one in found]


def fields(zpl: bytes) -> list[str]:
    """Returns the data of each field, as a printer reads it."""
    plain = [
        re.sub(rb"_([0-9A-F]{2})", lambda code: bytes.fromhex(code[1].decode()), data).decode()
        for data in re.findall(rb"\^FH_\^FD(.*?)\^FS", zpl)
    ]
    assert b"^CI28" in zpl  # makes the printer read UTF-8
    return plain


@PAPERS
@pytest.mark.parametrize("order_id", IDS)
def test_the_barcode_in_the_picture_reads_as_the_id(order_id: str, paper: str) -> None:
    made = label.arrange(facts(order_id, HOSTILE), label.WIDTHS[paper])

    png = label.png(made)

    assert decode(png) == [(order_id, "Code 128")]
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.size == (made.width, made.height)
        assert [round(dpi) for dpi in picture.info["dpi"]] == [label.DPI, label.DPI]


@PAPERS
@pytest.mark.parametrize("order_id", IDS)
def test_the_bars_are_never_too_thin_for_a_printer(order_id: str, paper: str) -> None:
    made = label.arrange(facts(order_id), label.WIDTHS[paper])

    picture = Image.open(io.BytesIO(label.png(made)))
    if made.turned:
        across = label.MARGIN + label.BARS // 2
        along = [picture.getpixel((across, y)) for y in range(made.top, made.height)]
    else:
        across = made.top + label.BARS // 2
        along = [picture.getpixel((x, across)) for x in range(made.width)]
    row = "".join(" " if pixel else "#" for pixel in along)

    assert made.module >= 2
    assert min(map(len, re.findall("#+| +", row.strip()))) == made.module
    quiet = label.QUIET * made.module
    assert len(row) - len(row.lstrip()) >= quiet <= len(row) - len(row.rstrip())


@PAPERS
@pytest.mark.parametrize("order_id", IDS)
def test_the_whole_id_is_printed_as_text(order_id: str, paper: str) -> None:
    made = label.arrange(facts(order_id), label.WIDTHS[paper])

    assert "".join(text.words for text in made.texts if text.height == 40) == order_id


@pytest.mark.parametrize("order_id", IDS)
def test_the_zpl_barcode_contains_exactly_the_id(order_id: str) -> None:
    zpl = label.zpl(label.arrange(facts(order_id), 576))

    assert re.search(rb"\^BC[NR],120,N,N,N,A\^FH_\^FD[0-9A-Za-z_-]+\^FS", zpl)
    assert fields(zpl)[-1] == order_id


def test_no_text_of_an_order_becomes_a_printer_command() -> None:
    plain = label.zpl(label.arrange(facts("bannos-1", "x" * len(HOSTILE)), 576), copies=2)
    made = label.arrange(facts("bannos-1", HOSTILE), 576)

    zpl = label.zpl(made, copies=2)

    commands = rb"[\^~][A-Z][A-Z@0-9]"
    assert set(re.findall(commands, zpl)) == set(re.findall(commands, plain))
    assert len(re.findall(rb"[\^~]", zpl)) == len(re.findall(commands, zpl))
    assert fields(zpl) == [*(text.words for text in made.texts), "bannos-1"]
    assert {"Crème", "蛋糕"} < set(" ".join(fields(zpl)).split())
    assert zpl.count(b"^XZ") == zpl.count(b"^PQ2") == 1


def prepare(clone: str, stage: str = "Filling") -> tuple[str, UUID]:
    with psycopg.connect(clone) as conn:
        return make_order(conn, store="bannos", stage=stage), make_staff(conn, store="bannos")


def prints(clone: str, order_id: str) -> list[Any]:
    with psycopg.connect(clone) as conn:
        return values(
            conn,
            "select staff_id from public.stage_events where order_id = %s and event_type = 'print'",
            order_id,
        )


def test_the_command_prints_as_the_account_and_records_it_once(tmp_path: Path, clone: str) -> None:
    order_id, baker = prepare(clone)
    project = Project(ROOT)
    png, zpl = tmp_path / "label.png", tmp_path / "label.zpl"

    first = project.run("label", order_id, "--as", str(baker), "--out", str(png), url=clone)
    again = project.run(
        "label", order_id, "--as", str(baker), "--format", "zpl", "--out", str(zpl), url=clone
    )

    assert (first.code, again.code) == (0, 0), first.err + again.err
    assert decode(png.read_bytes()) == [(order_id, "Code 128")]
    assert fields(zpl.read_bytes())[-1] == order_id
    assert prints(clone, order_id) == [baker]


def test_an_account_that_may_not_print_gets_no_label(tmp_path: Path, clone: str) -> None:
    order_id, _ = prepare(clone)
    out = tmp_path / "label.png"

    ran = Project(ROOT).run("label", order_id, "--as", str(uuid4()), "--out", str(out), url=clone)

    assert (ran.code, out.exists(), prints(clone, order_id)) == (1, False, [])
    assert "PERMISSION_DENIED" in ran.err


def test_a_label_that_cannot_be_written_is_not_recorded_as_printed(
    tmp_path: Path, clone: str
) -> None:
    order_id, baker = prepare(clone)
    nowhere = tmp_path / "missing" / "label.png"

    ran = Project(ROOT).run("label", order_id, "--as", str(baker), "--out", str(nowhere), url=clone)

    assert (ran.code, prints(clone, order_id)) == (1, [])
    assert "No such file" in ran.err
