"""Signatures against the worked examples of the documentation and against those of the official SDK."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from arkbatch.protocol.signing import (
    AccessKey,
    Realm,
    Request,
    authorization_value,
    canonical_hash,
    canonical_query,
    is_genuine,
    parse_authorization,
    sign_request,
)

OLD = AccessKey(
    "AKLTMjI2ODVlYzI3ZGY1NGU4ZjhjYWRjMTlmNTM5OTZkYzE",
    "TnpCak5XWXpZV1U0WkRaaE5ERmxaR0ZpTmpjeVkyUXlZek0wTWpJMU1qWQ==",
)
NEW = AccessKey(
    "AKLTYWViMTVmZGYzM2E0NDI5Mzk2MDZjNjFmMjc2MjRjMzg",
    "WkRZeE1EQmxPVGhsWWpWak5HVmtNbUUxTXpZeU9UVXlOMlE1TmpZeVlqTQ==",
)
LIST_USERS = {"Action": "ListUsers", "Version": "2018-01-01", "Limit": "10", "Offset": "0"}
SDK = json.loads((Path(__file__).parents[1] / "data" / "signing_sdk.json").read_text(encoding="utf-8"))
KEY = AccessKey(SDK["access_key"], SDK["secret_key"])
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_the_documented_example_of_2020():
    """Page 6369/67270, edition of 2020: four signed headers."""
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    headers = sign_request(
        Request("GET", "/", LIST_USERS, form),
        "iam.volcengineapi.com",
        OLD,
        Realm("cn-north-1", "iam"),
        datetime(2020, 12, 30, 8, 18, 5, tzinfo=UTC),
    )
    assert headers["Authorization"] == (
        f"HMAC-SHA256 Credential={OLD.id}/20201230/cn-north-1/iam/request, "
        "SignedHeaders=content-type;host;x-content-sha256;x-date, "
        "Signature=28eeabbbd726b87002e0fe58ad8c1c768e619b06e2646f35b6ad7ed029a6d8a7"
    )


@pytest.mark.parametrize(
    ("method", "service", "date", "query", "body", "request_hash", "signature"),
    [
        (
            *("GET", "iam", "20240619T071306Z", LIST_USERS, b""),
            "5ed5bca3905e1fcbf789abb56a17c2d819674a3bcfa468ae476bd1ea80d135cb",
            "e31c4558bcfe08a286001f59cedbf0791ffd0b2362f10e55ee2627467bcdde93",
        ),
        (
            *("GET", "billing", "20250329T180937Z", {"Action": "QueryBalanceAcct", "Version": "2022-01-01"}, b""),
            "43171c1658c64b5db55c58d54988a4598d2d09a5613136beaa5eef40eae6e2c1",
            "1eda9e7e6b1728151a8e8791fdaf67cfbd28bd5c80d0fce2eb208746cf483105",
        ),
        (
            *("POST", "billing", "20250329T180937Z", {"Action": "ListBill", "Version": "2022-01-01"}),
            b'{"Limit":10,"BillPeriod":"2023-08"}',
            "27383e3b56d03850f5634483527fbddcbf06cf98de1bc8a6679ef2300bff3b15",
            "5e8480ceea12d0000a23c054151c50dd02c1a7dec835004057d19f13d53a7658",
        ),
    ],
    ids=["67270 ListUsers", "67269 GET", "67269 POST"],
)
def test_the_documented_examples_of_today(method, service, date, query, body, request_hash, signature):
    signed = {"Host": f"{service}.volcengineapi.com", "X-Date": date}
    request = Request(method, "/", query, signed, body)
    assert canonical_hash(request, signed) == request_hash
    value = authorization_value(request, signed, NEW, Realm(service=service))
    assert value.endswith(f"SignedHeaders=host;x-date, Signature={signature}")


@pytest.mark.parametrize("case", SDK["cases"], ids=lambda case: case["name"])
def test_the_official_sdk_signs_the_same(case):
    host = case["headers"].pop("Host")
    headers = sign_request(
        Request(case["method"], case["path"], case["query"], case["headers"], case["body"].encode()),
        host,
        KEY,
        Realm(case["region"], case["service"]),
        datetime.fromisoformat(case["time"]).replace(tzinfo=UTC),
    )
    assert headers == case["signed"]


def test_a_local_time_is_sent_as_utc():
    beijing = NOW.astimezone(timezone(timedelta(hours=8)))
    request = Request("GET", "/", {}, {})
    assert sign_request(request, "h", KEY, Realm(), beijing) == sign_request(request, "h", KEY, Realm(), NOW)
    assert sign_request(request, "h", KEY, Realm(), beijing)["X-Date"] == "20260102T030405Z"


def signed_request(query=None, body=b"{}"):
    request = Request("POST", "/", query or {"Action": "GetApiKey"}, {"Content-Type": "application/json"}, body)
    return replace(request, headers=sign_request(request, "127.0.0.1:8080", KEY, Realm(), NOW))


@given(st.dictionaries(st.text(), st.text()), st.binary())
def test_what_we_sign_is_genuine(query, body):
    assert is_genuine(signed_request(query, body), KEY.secret)


@pytest.mark.parametrize(
    "forged",
    [
        replace(signed_request(), body=b"[]"),
        replace(signed_request(), query={"Action": "DeleteUser"}),
        replace(signed_request(), method="PUT"),
        replace(signed_request(), headers=dict(signed_request().headers, **{"X-Date": "20260102T030406Z"})),
        replace(signed_request(), headers=dict(signed_request().headers, **{"Content-Type": "text/plain"})),
        replace(signed_request(), headers={}),
        replace(signed_request(), headers={"Authorization": "Bearer abc"}),
        replace(signed_request(), headers={"Authorization": signed_request().headers["Authorization"]}),
    ],
    ids=["body", "query", "method", "date", "header", "none", "bearer", "headers missing"],
)
def test_what_was_changed_after_signing_is_not_genuine(forged):
    assert not is_genuine(forged, KEY.secret)


def test_another_secret_is_not_genuine():
    assert not is_genuine(signed_request(), KEY.secret + "x")


def test_the_signer_is_read_from_the_header():
    assert parse_authorization(signed_request().headers["Authorization"]) == (
        KEY.id,
        Realm("cn-beijing", "ark"),
        ("content-type", "host", "x-content-sha256", "x-date"),
    )


def test_a_query_is_sorted_and_encoded_by_rfc_3986():
    assert canonical_query({"b": "a b", "a": "~*+/", "B": "中"}) == "B=%E4%B8%AD&a=~%2A%2B%2F&b=a%20b"


def test_no_secret_in_a_repr():
    assert KEY.secret not in repr(KEY)
    assert KEY.id not in repr(KEY)
