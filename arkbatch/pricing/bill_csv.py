"""Reads the split bill (分账账单) of Volcengine's console or billing API, as CSV.

Columns are found by name and may stand in any order among others. The API's names are those of `ListSplitBillDetail`;
the Chinese ones are what its documentation calls the same fields. No export of the console was seen while this was
written, so a file whose headings differ is refused with the names that are missing. A day is the bill's own, which is
Beijing's. `pricing.reconcile` compares the lines with the records.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import TextIO

from arkbatch.core.errors import UsageError
from arkbatch.core.text import printable_text
from arkbatch.pricing.amounts import EXACT, ZERO
from arkbatch.pricing.reconcile import BillLine

# What is needed, and the headings that mean it; where a file has several, the first of them counts.
NEEDED = {
    "item": ("SplitItemID", "分拆项ID"),
    "day": ("BillingDate", "ExpenseDate", "ExpenseTime", "账单日期", "消费日期", "消费时间", "日期"),
    "count": ("SplitItemAmount", "Count", "分拆用量", "用量"),
    "unit": ("Unit", "用量单位", "单位"),
    "currency": ("Currency", "币种"),
    "listed": ("OriginalBillAmount", "原价"),
    "payable": ("PayableAmount", "应付金额"),
}
_HEADINGS_WITHIN = 20  # lines: an export may begin with a title
_HEAD = 4096  # characters, in which the separator is looked for
_IN_BRACKETS = re.compile(r"[(（].*")
_DAY = re.compile(r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})|(\d{4})(\d\d)(\d\d)(?!\d)")
_MONTH = re.compile(r"\d{4}[-/.年]?\d{1,2}月?")
_TOKENS = re.compile(r"(百万|万|千|k|m)?tokens?")
_TIMES = {None: 1, "千": 1000, "k": 1000, "万": 10_000, "百万": 1_000_000, "m": 1_000_000}
_NONE = {"", "-", "--"}
_DIGITS = 30  # digits before or after the point; sums are exact, so a number must be bounded
_CURRENCIES = {"人民币": "CNY", "RMB": "CNY", "美元": "USD"}
_SHELL = "\t '\"=\ufeff"  # what programs put around an id so that a spreadsheet keeps its digits


def read_bill(path: Path) -> Iterator[BillLine]:
    """Return the lines that name an item; UsageError for another or an unreadable file."""
    try:
        with path.open(encoding=_find_encoding(path), newline="") as file:
            yield from _read_lines(file, path)
    except OSError as error:
        raise UsageError(f"Cannot read the bill {path}: {error.strerror}.") from error
    except (csv.Error, UnicodeError) as error:
        raise UsageError(f"The bill {path} is not a CSV file: {error}.") from error


def _find_encoding(path: Path) -> str:
    with path.open("rb") as file:
        if file.read(2) in {b"\xff\xfe", b"\xfe\xff"}:
            return "utf-16"
    for name in ("utf-8-sig", "gb18030"):
        try:
            with path.open(encoding=name) as text:
                while text.read(1 << 20):
                    pass
        except UnicodeDecodeError:
            continue
        return name
    raise UsageError(f"The bill {path} is text neither in UTF-8 nor in GBK. Export it as CSV.")


def _read_lines(file: TextIO, path: Path) -> Iterator[BillLine]:
    head = file.read(_HEAD)
    file.seek(0)
    reader = csv.reader(file, delimiter=max(",\t;", key=head.count))
    places = _find_columns(islice(reader, _HEADINGS_WITHIN), path)
    for cells in reader:
        if len(cells) <= max(places.values()):
            continue  # a remark at the end of the file
        said = {name: cells[place].strip(_SHELL) for name, place in places.items()}
        if said["item"] not in _NONE:
            yield _parse_line(said, f"The bill {path}, line {reader.line_num}")


def _find_columns(lines: Iterable[list[str]], path: Path) -> dict[str, int]:
    """Return in which column each needed field stands."""
    best: dict[str, int] = {}
    headings: list[str] = []
    for cells in lines:
        places = _match_columns(cells)
        if len(places) == len(NEEDED):
            return places
        if len(places) > len(best) or not headings:
            best, headings = places, cells
    missing = ", ".join(_both_names(names) for name, names in NEEDED.items() if name not in best)
    has = (
        printable_text(", ".join(cell.strip(_SHELL) for cell in headings if cell.strip()))[:160]
        if best
        else "none of them"
    )
    raise UsageError(
        f"The bill {path} lacks columns: {missing}. It has {has}. Export the split bill (分账账单) by day as CSV."
    )


def _both_names(names: Sequence[str]) -> str:
    """Return the API's name of a field and the console's."""
    return f"{names[0]} or {next(name for name in names if not name.isascii())}"


def _match_columns(cells: Sequence[str]) -> dict[str, int]:
    headings = {_plain_heading(cell): place for place, cell in reversed(list(enumerate(cells)))}
    return {
        name: headings[plain]
        for name, known in NEEDED.items()
        if (plain := next((_plain_heading(one) for one in known if _plain_heading(one) in headings), None)) is not None
    }


def _plain_heading(heading: str) -> str:
    """Return one spelling: `用量 (千tokens)` is 用量, `Split Item ID` is SplitItemID."""
    return re.sub(r"[\s_]", "", _IN_BRACKETS.sub("", heading.strip(_SHELL))).lower()


def _parse_line(said: dict[str, str], where: str) -> BillLine:
    count, unit = _parse_number(said["count"], where), said["unit"].replace(" ", "")
    tokens = _TOKENS.fullmatch(unit.lower())
    return BillLine(
        item=said["item"],
        day=_parse_day(said["day"], where),
        currency=_CURRENCIES.get(said["currency"].upper(), said["currency"].upper()),
        listed=_parse_number(said["listed"], where),
        payable=_parse_number(said["payable"], where),
        tokens=EXACT.multiply(count, _TIMES[tokens[1]]) if tokens else ZERO,
        unit="" if tokens or not count else unit or "?",
        count=ZERO if tokens else count,
    )


def _parse_number(text: str, where: str) -> Decimal:
    """Parse a number with or without thousands separators."""
    if text in _NONE:
        return ZERO
    try:
        number = Decimal(re.sub(r"[,，\s¥￥]", "", text))
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number.adjusted()) > _DIGITS or len(text) > 2 * _DIGITS:
        raise UsageError(f"{where}: {printable_text(text)[:40]!r} is no number.")
    return number


def _parse_day(text: str, where: str) -> str:
    """Return a day as 2026-09-21; "" for a line of a whole month."""
    if found := _DAY.match(text):
        year, month, day = found.group(1, 2, 3) if found[1] else found.group(4, 5, 6)
        return f"{year}-{int(month):02}-{int(day):02}"
    if text in _NONE or _MONTH.fullmatch(text):
        return ""
    raise UsageError(f"{where}: {printable_text(text)[:40]!r} is no day.")
