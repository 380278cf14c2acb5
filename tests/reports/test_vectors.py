"""Vectors in base64, and the vectors of a run as one file for numpy."""

import ast
import struct
from array import array
from base64 import b64encode
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from runs import answered, failed, job_of, prompts, worked_off
from sessions import results, worked
from virtual import run_virtual

import arkbatch
from arkbatch.cli.vectors import command
from arkbatch.core.calls import Break, Broken, Call, Reply
from arkbatch.core.errors import RunDirectoryError, UsageError
from arkbatch.protocol.vectors import vectors_in, with_base64
from arkbatch.reports.answers.vectors import IDS, array_head, iter_vectors, write_vectors
from arkbatch.transport.connection import PackedVectors

FLOATS = st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20)


def packed(*numbers):
    return b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embedded(*embeddings, **more):
    data = [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(embeddings)]
    return {"model": "e", "data": data, "usage": {"prompt_tokens": 3}, **more}


def test_the_documented_example_of_base64_is_met():
    body = orjson.loads(with_base64(orjson.dumps(embedded([1.0, -2.5, 0.25]))))
    assert body["data"][0]["embedding"] == "AACAPwAAIMAAAIA+" == packed(1.0, -2.5, 0.25)


@given(FLOATS)
def test_a_vector_comes_back_from_base64_to_the_last_bit(numbers):
    sent = orjson.dumps({"data": {"embedding": numbers}})
    ((index, floats),) = vectors_in(orjson.loads(with_base64(sent)))
    assert (index, array("f", floats).tolist()) == (0, numbers)


def test_of_a_reply_only_the_vectors_change():
    sent = embedded([1, 2], packed(3.0), odd={"embedding": [1]})
    sent["data"][0]["sparse_embedding"] = [{"index": 1, "value": 0.5}]
    got = orjson.loads(with_base64(orjson.dumps(sent)))
    sent["data"][0]["embedding"] = packed(1, 2)
    assert got == sent


@pytest.mark.parametrize(
    "reply",
    [
        b'{"data": [{"embedding": [1.0, "x"]}]}',
        b'{"data": [{"embedding": [1e60]}]}',
        b'{"data": [{"embedding": [1.0, {}]}]}',
        b'{"data": [{"embedding": [1.0,',
        b'{"data": [{"embedding": "AACAPw=="}]}',
        b'{"error": {"code": "X"}}',
        b"",
    ],
)
def test_what_cannot_be_packed_stays_as_it_came(reply):
    assert with_base64(reply) == reply


@pytest.mark.parametrize("embedding", [[], "", "AAA", "AAAA", "é", None, 5, ["x"], [1e60], {}])
def test_what_is_no_vector_is_an_error_where_vectors_are_read(embedding):
    with pytest.raises(ValueError):
        list(vectors_in({"data": {"embedding": embedding}}))


@pytest.mark.parametrize("body", [None, [], {}, {"data": None}, {"data": []}, {"choices": []}])
def test_other_replies_have_no_vectors(body):
    assert list(vectors_in(body)) == []


def through(response):
    class Inner:
        async def send(self, call):
            return response

    return run_virtual(PackedVectors(Inner()).send(Call("c", "embeddings", "/embeddings", b"{}")))


def test_the_transport_packs_answers_and_hands_on_the_rest():
    numbers = orjson.dumps(embedded([1.0]))
    assert orjson.loads(through(Reply(200, numbers, {"x": "y"}, 0.5)).body) == embedded(packed(1.0))
    for other in (Reply(400, numbers, {}, 0.5), Reply(200, b'{"data": 1}', {}, 0.5), Broken(Break.CONNECT, "no")):
        assert through(other) is other


TEXTS = [{"custom_id": f"t-{number}", "input": f"text {number}"} for number in range(1, 5)]


def embeddings_job(folder, *rows, vectors="base64", **keys):
    prompts(folder, *(rows or TEXTS))
    table = "".join(f"{name} = {orjson.dumps(value).decode()}\n" for name, value in keys.items())
    text = f'input = "in.jsonl"\nendpoint = "embeddings"\n[embeddings]\nvectors = "{vectors}"\n[defaults]\n{table}'
    (folder / "job.toml").write_text(text)
    return job_of(folder / "job.toml")


@pytest.mark.parametrize("keys", [{}, {"encoding_format": "float"}], ids=["asked for", "packed here"])
def test_a_run_records_base64_whatever_the_server_sends(tmp_path, keys):
    job = embeddings_job(tmp_path, dimensions=64, **keys)
    assert worked(job).summary.succeeded == 4
    for line in results(job):
        (item,) = line["response"]["body"]["data"]
        assert len(item["embedding"]) == 344  # 64 numbers of 4 bytes


def test_base64_holds_what_the_numbers_were(tmp_path):
    found = {}
    for name in ("json", "base64"):
        (tmp_path / name).mkdir()
        job = embeddings_job(tmp_path / name, vectors=name, dimensions=16)
        worked(job)
        found[name] = [(v.custom_id, v.index, v.numbers.tolist()) for v in iter_vectors(job.run_dir)]
    assert found["json"] == found["base64"]
    assert [name for name, _, _ in found["json"]] == ["t-1", "t-2", "t-3", "t-4"]


def run_with(folder, answers):
    """A run whose rows were answered so, the last first; None: the row failed."""
    job = job_of(prompts(folder, *TEXTS[: len(answers)]), endpoint="embeddings")
    made = []
    worked_off(job, made.append, ending="")
    from arkbatch.engine.open_run import OpenRun

    with OpenRun(job, wall=lambda: 0.0) as run:
        for row, answer in reversed(list(zip(made, answers, strict=True))):
            run.journal.record(failed(row) if answer is None else answered(row, answer))
        run.journal.close()
    return Path(job.run_dir)


def read_npy(path):
    """Shape and numbers by the letter of NEP 1, so that numpy itself is not needed."""
    data = path.read_bytes()
    assert data[:8] == b"\x93NUMPY\x01\x00"
    size = 10 + int.from_bytes(data[8:10], "little")
    assert size % 64 == 0
    assert data[size - 1 : size] == b"\n"
    said = ast.literal_eval(data[10:size].decode())
    assert (said["descr"], said["fortran_order"]) == ("<f4", False)
    return said["shape"], [number for (number,) in struct.iter_unpack("<f", data[size:])]


def test_a_run_becomes_an_array_with_the_ids_beside(tmp_path):
    run = run_with(
        tmp_path, [embedded([1.0, 2.0]), None, embedded(packed(3, 4), [5, 6]), {"data": {"embedding": [7, 8]}}]
    )
    written = write_vectors(run, tmp_path / "v.npy")
    assert (written.vectors, written.dimensions, written.rows) == (4, 2, 3)
    assert read_npy(tmp_path / "v.npy") == ((4, 2), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0])
    ids = [orjson.loads(line) for line in Path(written.ids).read_bytes().splitlines()]
    assert [(line["custom_id"], line["row"], line["index"]) for line in ids] == [
        ("t-1", 1, 0),
        ("t-3", 3, 0),
        ("t-3", 3, 1),
        ("t-4", 4, 0),
    ]


def test_vectors_of_one_row_stand_by_their_index_and_rows_by_the_order_asked_for(tmp_path):
    body = embedded([1.0], [2.0])
    body["data"].reverse()
    run = run_with(tmp_path, [body, embedded([3.0])])
    write_vectors(run, tmp_path / "v.npy", "completion")
    assert read_npy(tmp_path / "v.npy")[1] == [3.0, 1.0, 2.0]


def test_numpy_reads_the_file(tmp_path):
    numpy = pytest.importorskip("numpy")
    write_vectors(run_with(tmp_path, [embedded([1.0, 2.0]), embedded([3.0, -0.5])]), tmp_path / "v.npy")
    found = numpy.load(tmp_path / "v.npy", mmap_mode="r")
    assert (found.shape, str(found.dtype), found.tolist()) == ((2, 2), "float32", [[1.0, 2.0], [3.0, -0.5]])


@pytest.mark.parametrize(("count", "dimensions"), [(1, 1), (10**15, 4096)])
def test_the_head_has_the_same_length_for_any_number(count, dimensions):
    assert len(array_head(count, dimensions)) == 128


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([None], "no vectors"),
        ([{"choices": [{"message": {"content": "x"}}]}], "no vectors"),
        ([embedded([1.0]), embedded([1.0, 2.0])], "row 2 has 2 numbers"),
        ([embedded(["x"])], "row 1 holds no proper vector"),
    ],
)
def test_what_makes_no_array_is_said_and_leaves_no_file(tmp_path, answers, words):
    run = run_with(tmp_path, answers)
    (tmp_path / "v.npy").write_bytes(b"an older one")
    with pytest.raises(UsageError, match=words):
        write_vectors(run, tmp_path / "v.npy")
    assert (tmp_path / "v.npy").read_bytes() == b"an older one"
    assert [path.name for path in tmp_path.iterdir() if ".npy." in path.name] == []


def test_only_a_name_that_says_npy_is_written(tmp_path):
    run = run_with(tmp_path, [embedded([1.0])])
    with pytest.raises(UsageError, match=r"does not end in \.npy"):
        write_vectors(run, tmp_path / "a.run" / "results.jsonl")


def test_a_target_that_cannot_be_written_is_said(tmp_path):
    run = run_with(tmp_path, [embedded([1.0])])
    with pytest.raises(RunDirectoryError):
        write_vectors(run, tmp_path / "gone" / "v.npy")


def test_the_command_tells_what_it_wrote(tmp_path):
    run = run_with(tmp_path, [embedded([1.0, 2.0]), embedded([3.0, 4.0])])
    done = CliRunner().invoke(command, [str(run), "-o", str(tmp_path / "v.npy")], standalone_mode=False)
    assert "2 vectors of 2 numbers, from 2 rows" in done.output
    done = CliRunner().invoke(command, [str(run), "-o", str(tmp_path / "v.npy"), "--json"], standalone_mode=False)
    assert orjson.loads(done.output)["ids"] == str(tmp_path / f"v.npy{IDS}")


def test_vectors_are_public():
    assert arkbatch.iter_vectors is iter_vectors
