"""Tables as strangers have them: each runs at the first try, or is refused with what to do."""

import gzip
import json
import lzma

import pytest
from runs import job_of

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.rows.first_look import check_first_rows
from arkbatch.rows.record_json import columns_of
from arkbatch.rows.source import open_source, source_of

USUAL = "id,text,label\n1,a b,x\n2,c,y\n"
EXPECTED = [("1", "a b"), ("2", "c")]


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("comments before the header.csv", "# exported\n# by a tool, as CSV\n" + USUAL),
        ("one comment.tsv", "# exported\nid\ttext\n1\ta b\n2\tc\n"),
        ("title.csv", "Report of reviews\n" + USUAL),
        ("title with delimiters.csv", "Report of reviews,,\n\n" + USUAL),
        ("cells in single quotes.csv", "id,text,label\n1,'a b','x, y'\n2,'c','z'\n"),
        ("quotes with backslashes.csv", 'id,text,label\n1,"a b","say \\"x, y\\""\n2,"c","z"\n'),
        ("end of file of DOS.csv", USUAL.replace("\n", "\r\n") + "\x1a"),
        ("padded with zeros.csv", USUAL + "\0" * 50),
        ("all quoted.csv", '"id","text"\r\n"1","a b"\r\n"2","c"\r\n'),
        ("delimiter behind the last.csv", "id,text,\n1,a b,\n2,c,\n"),
        ("short last records.csv", "id,text,label\n1,a b\n2,c\n"),
        ("blank lines.csv", "\n\nid,text\n\n1,a b\n \n2,c\n\n"),
        ("break in the header.csv", '"id","text",""\n1,a b,\n2,c,\n'),
        ("capital.CSV", USUAL),
        ("no ending", USUAL),
        ("semicolons in GBK.csv", "id;text;评论\n1;a b;这个产品非常好\n2;c;质量不好\n".encode("gbk")),
        ("UTF-16 big end.csv", USUAL.encode("utf-16-be")),
        ("UTF-16 tabs.txt", USUAL.replace(",", "\t").encode("utf-16")),
        ("UTF-32.csv", USUAL.encode("utf-32")),
        ("packed.csv.xz", lzma.compress(USUAL.encode())),
        ("packed without saying so.tsv", gzip.compress(USUAL.replace(",", "\t").encode(), mtime=0)),
        ("pipes.dat", USUAL.replace(",", "|")),
        ("tildes.csv", USUAL.replace(",", "~")),
        ("called a sheet.xls", USUAL.replace(",", "\t")),
        ("mixed line ends.csv", "id,text\r\n1,a b\n2,c\r"),
        ("JSON cells.csv", 'id,text,meta\n1,a b,"{""k"": [1, 2]}"\n2,c,{}\n'),
        ("a name with braces.csv", "id,{text},text\n1,x,a b\n2,y,c\n"),
        ("a name with a dot.csv", "id,text.old,text\n1,x,a b\n2,y,c\n"),
        ("names in two cases.csv", "id,Text,text\n1,x,a b\n2,y,c\n"),
        ("files joined.jsonl", '\ufeff{"id":"1","text":"a b"}\n\ufeff{"id":"2","text":"c"}\n'),
        ("commas behind lines.jsonl", '{"id":"1","text":"a b"},\n{"id":"2","text":"c"},\n'),
        ("list over lines.jsonl", '[{"id":"1","text":"a b"},\n{"id":"2","text":"c"}]\n'),
        ("returns.jsonl", '{"id":"1","text":"a b"}\r{"id":"2","text":"c"}\r'),
        ("UTF-16.jsonl", '{"id":"1","text":"a b"}\n{"id":"2","text":"c"}\n'.encode("utf-16")),
        ("not a number.jsonl", '{"id":"1","text":"a b","s":NaN}\n{"id":"2","text":"c","s":-Infinity}\n'),
        ("record separators.json", '\x1e{"id":"1","text":"a b"}\n\x1e{"id":"2","text":"c"}\n'),
        ("pretty.json", '{\n "id": "1",\n "text": "a b"\n}\n{\n "id": "2",\n "text": "c"\n}\n'),
        ("wrapped.json", json.dumps({"total": 2, "data": [{"id": "1", "text": "a b"}, {"id": "2", "text": "c"}]})),
        ("a mark before the list.json", "\ufeff" + json.dumps([{"id": "1", "text": "a b"}, {"id": "2", "text": "c"}])),
    ],
)
def test_it_runs_at_the_first_try_and_can_be_entered_at_each_row(tmp_path, name, data):
    path = put(tmp_path, name, data)
    job = job_of(path, prompt="{text}")
    look = check_first_rows(source_of(job), job)
    assert (look.rows, look.sendable) == (2, 2)
    source = open_source(path)
    found = list(source.read_records())
    assert [(columns_of(line)["id"], columns_of(line)["text"]) for _, _, line in found] == EXPECTED
    assert source.survey_input().rows == 2
    number, offset, line = found[1]
    assert [each[2] for each in source.read_records(Position(number - 1, offset))] == [line]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("one blank between.txt", "id text\n1 a\n2 b\n", "--prompt '{text}' --delimiter ' '"),
        ("other name.csv", "id,texts\n1,a\n2,b\n", "--prompt '{texts}' --id-column id"),
        ("Chinese names.csv", "编号;内容\n1;aa\n2;bb\n", "--prompt '{内容}'"),
        ("no header.csv", "1,2,3\n4,5,6\n", "say --no-header if it is one, and call the columns {1}, {2}"),
        ("only a mark.csv", "\ufeff", "has no rows"),
        ("only a header.csv", "id,text\r\n", "has no rows"),
        ("of pandas, split.json", '{"columns":["id","text"],"index":[0],"data":[[1,"a"]]}', "orient='records'"),
        ("of pandas, by index.json", '{"r1":{"text":"a"},"r2":{"text":"b"}}', "orient='records'"),
        ("lists in a list.json", '[["id","text"],[1,"a"],[2,"b"]]', "save the rows as CSV"),
        ("lists in lines.ndjson", '["id","text"]\n[1,"a"]\n[2,"b"]\n', "save the rows as CSV"),
        ("two sets.json", '{"train":[{"text":"a"}],"test":[{"text":"b"}]}', "jq -c '.train[]'"),
        ("a document.yaml", "- id: 1\n  text: a\n", "is a YAML document and no table"),
        ("a dump.sql", "INSERT INTO t VALUES (1, 'a');\n", "is a script of SQL and no table"),
    ],
)
def test_it_is_refused_with_what_to_do(tmp_path, name, data, said):
    path = put(tmp_path, name, data)
    with pytest.raises(UsageError) as caught:
        check_first_rows(source_of(job := job_of(path, prompt="{text}", allow_empty=False)), job)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        ("text\nhello, you\nand, me\n", ("text",), 2),
        ("#id,text\n1,a\n2,b\n", ("#id", "text"), 2),
        ("text,\na,\nb,\n", ("text", "column2"), 2),
        ("id,text,x\n'tis,a,b\nit's,c,d\n", ("id", "text", "x"), 2),
    ],
)
def test_what_only_looks_like_a_title_or_a_quote_is_left_as_it_is(tmp_path, text, columns, rows):
    source = open_source(put(tmp_path, "in.csv", text))
    assert source.columns == columns
    assert source.survey_input().rows == rows
