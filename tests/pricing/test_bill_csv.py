"""A split bill is read from what consoles, sheets and APIs make of it, or refused in one line."""

from decimal import Decimal

import pytest

from arkbatch.core.errors import UsageError
from arkbatch.pricing.bill_csv import read_bill

API = (
    "BillPeriod,BillingDate,Product,SplitItemID,Currency,OriginalBillAmount,PreferentialAmount,PayableAmount,Count,Unit"
)
API_LINE = "2026-05,2026-05-15,ark_bd,ep-1,CNY,123.4500,10.0000,113.4500,1234567,千tokens"
CONSOLE = "账期,账单日期,产品,分拆项ID,用量,用量单位,币种,原价,应付金额"
CONSOLE_LINE = "2026-05,2026-05-15,火山方舟,ep-1,1234567,千tokens,CNY,123.4500,113.4500"


def bill(tmp_path, *lines, encoding="utf-8"):
    path = tmp_path / "bill.csv"
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def read(tmp_path, *lines, **how):
    return list(read_bill(bill(tmp_path, *lines, **how)))


@pytest.mark.parametrize(
    ("headings", "line"),
    [
        (API, API_LINE),
        (CONSOLE, CONSOLE_LINE),
        (CONSOLE.replace(",", "\t"), CONSOLE_LINE.replace(",", "\t")),
        (CONSOLE.replace(",", ";"), CONSOLE_LINE.replace(",", ";")),
        (CONSOLE.replace("原价", " 原价（元）").replace("分拆项ID", "分拆项 id"), CONSOLE_LINE),
        (f"{API},SplitItemAmount", f"{API_LINE.replace('1234567', '99')},1234567"),
    ],
)
def test_columns_are_found_by_name_in_any_order(tmp_path, headings, line):
    (read_line,) = read(tmp_path, headings, line)
    assert (read_line.item, read_line.day, read_line.currency) == ("ep-1", "2026-05-15", "CNY")
    assert read_line.tokens == 1_234_567_000
    assert (read_line.listed, read_line.payable) == (Decimal("123.4500"), Decimal("113.4500"))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gbk", "gb18030", "utf-16"])
def test_any_usual_encoding_is_read(tmp_path, encoding):
    assert len(read(tmp_path, CONSOLE, CONSOLE_LINE, encoding=encoding)) == 1


@pytest.mark.parametrize(
    ("count", "unit", "tokens"),
    [
        ('"1,234.5"', "千tokens", "1234500"),
        ("1234.5", "千 Tokens", "1234500"),
        ("2", "百万tokens", "2000000"),
        ("3", "万token", "30000"),
        ("7", "tokens", "7"),
        ("-", "千tokens", "0"),
        ("-1.5", "ktokens", "-1500"),
    ],
)
def test_tokens_are_counted_one_by_one(tmp_path, count, unit, tokens):
    (line,) = read(tmp_path, CONSOLE, f"2026-05,2026-05-15,p,ep-1,{count},{unit},CNY,1,1")
    assert (line.tokens, line.unit) == (Decimal(tokens), "")


def test_another_unit_is_no_token(tmp_path):
    (line,) = read(tmp_path, CONSOLE, "2026-05,2026-05-15,p,ep-1,12,张,CNY,1,1")
    assert (line.tokens, line.unit, line.count) == (0, "张", 12)


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("2026-05-15", "2026-05-15"),
        ("2026/5/5", "2026-05-05"),
        ("20260515", "2026-05-15"),
        ("2026-05-15 23:00:00", "2026-05-15"),
        ("2026年5月15日", "2026-05-15"),
        ("2026-05", ""),
        ("202605", ""),
        ("", ""),
    ],
)
def test_days_are_read_in_any_usual_form(tmp_path, said, day):
    (line,) = read(tmp_path, CONSOLE, CONSOLE_LINE.replace("2026-05-15", said))
    assert line.day == day


def test_what_protects_an_id_from_a_sheet_is_taken_off(tmp_path):
    (line,) = read(tmp_path, CONSOLE, CONSOLE_LINE.replace("ep-1", '"=""ep-1"""').replace("CNY", "\t人民币 "))
    assert (line.item, line.currency) == ("ep-1", "CNY")


def test_titles_totals_and_lines_without_an_item_are_passed_over(tmp_path):
    lines = ["分账账单 2026-05", "", CONSOLE, CONSOLE_LINE, CONSOLE_LINE.replace("ep-1", "-"), "合计,,,,,,,,", "end"]
    assert len(read(tmp_path, *lines)) == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [CONSOLE.replace("用量单位", "x").replace("币种", "y"), CONSOLE_LINE],
            "lacks columns: Unit or 用量单位, Currency or 币种. It",
        ),
        (['{"prompt": "no bill"}'], "It has none of them"),
        ([], "lacks columns"),
        ([CONSOLE, CONSOLE_LINE.replace("1234567", "many")], "line 2: 'many' is no number"),
        ([CONSOLE, CONSOLE_LINE.replace("113.4500", "NaN")], "'NaN' is no number"),
        ([CONSOLE, CONSOLE_LINE.replace("113.4500", "1e999999")], "'1e999999' is no number"),
        ([CONSOLE, CONSOLE_LINE.replace("2026-05-15", "May")], "line 2: 'May' is no day"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, lines, said):
    with pytest.raises(UsageError) as refused:
        read(tmp_path, *lines)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"\xff\xff\xff", b"\xff\xfe\x00", b"a,\x00b\n"])
def test_a_file_that_is_no_text_is_refused(tmp_path, data):
    path = tmp_path / "bill.csv"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        list(read_bill(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"none\.csv: No such file"):
        list(read_bill(tmp_path / "none.csv"))
