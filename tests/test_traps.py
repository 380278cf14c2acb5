"""The traps of Ark's protocol as one table: where the service surprises and the official SDK is caught, and our test for it.

The numbers are those of the notes on the protocol. A trap that names a test which is not there fails. What had no test
elsewhere stands at the end.
"""

import ast
import asyncio
from functools import cache
from pathlib import Path

import orjson
import pytest
from runs import prompts
from servers import whole
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.calls import Call
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.row import Row
from arkbatch.core.secret import Secret
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.parse import RowReader
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

HERE = Path(__file__).parent

TRAPS = {
    # 4.4 Streaming
    "4.4 comments, blank lines, CRLF, no space after data:, characters cut by packets": "transport/test_streamed_replies::every_framing_gives_the_same_answer",
    "4.4 events separated by one newline, where the SDK reads two as one": "transport/test_streamed_replies::every_framing_gives_the_same_answer",
    "4.4 a last event without its blank line, which the SDK drops": "transport/test_streamed_replies::every_framing_gives_the_same_answer",
    "4.4 an id: field before an event without data, where the SDK raises": "transport/test_streamed_replies::every_framing_gives_the_same_answer",
    "4.4 a line of 300 kB": "transport/test_streamed_replies::every_framing_gives_the_same_answer",
    "4.4 [DONE] with something behind it": "protocol/test_sse::nothing_after_done_is_looked_at",
    "4.4 a finish reason and no [DONE]": "simulator/test_streams::without_done_the_answer_is_complete_all_the_same",
    "4.4 a good end without a finish reason, which the SDK takes for an answer": "transport/test_streamed_replies::a_stream_without_a_finish_reason_was_cut_off_although_it_ended_in_good_order",
    "4.4 a torn connection": "transport/test_streamed_replies::a_torn_connection_is_one_that_was_dropped",
    "4.4 silence for longer than the read timeout": "transport/test_streamed_replies::silence_between_two_chunks_is_a_timeout_and_a_long_answer_that_moves_is_not",
    "4.4 an error event after status 200, with and without event: error": "transport/test_streamed_replies::an_error_in_the_stream_reaches_the_verdict_with_its_code",
    "4.4 usage only where it is asked for": "transport/test_streamed_replies::a_row_that_streams_asks_for_its_usage",
    "4.4 usage in every chunk is a running count": "protocol/test_stream::usage_that_comes_with_every_chunk_is_not_added_up",
    "4.4 tool calls in fragments by index": "protocol/test_stream::tool_calls_are_put_together_by_index",
    "4.4 whole tool calls in one chunk, by older models": "protocol/test_stream::whole_tool_calls_without_an_index_stand_in_their_order",
    "4.4 a stream is asked for by the body, whatever Accept says": "simulator/test_streams::null_is_no_stream_and_accept_decides_nothing",
    # 6.5 Access keys
    "6.5 the SDK's asynchronous client raises with an access key and an endpoint": "simulator/test_sdk_judge::the_asynchronous_client_cannot_use_an_access_key_with_an_endpoint",
    "6.5 where ours works": "engine/test_access_key_runs::a_week_on_the_batch_lane_with_a_new_key_each_day",
    "6.5 the SDK's refresh lock leaks, and the last refresh would wait for ever": "transport/test_auth::a_worker_that_gives_up_does_not_take_the_fetch_along",
    "6.5 near its end a key is waited for": "transport/test_auth::near_its_end_a_key_is_waited_for",
    "6.5 a first fetch that fails": "transport/test_auth::a_passing_trouble_is_tried_again_before_anyone_notices",
    "6.5 a refresh that fails keeps the old key": "transport/test_auth::while_the_service_is_away_the_old_key_serves_and_the_service_is_asked_seldom",
    "6.5 keys of less than half an hour are fetched at each call by the SDK": "transport/test_auth::a_short_life_is_not_renewed_at_each_call",
    "6.4 the call is rate limited, so that all workers share one": "transport/test_auth::a_thousand_workers_share_one_fetch_and_each_model_has_its_own_key",
    "6.3 a plain model id needs its project": "transport/test_auth::a_plain_model_id_asks_for_its_project",
    "6.2 a clock that is wrong": "transport/test_auth::a_wrong_clock_is_measured",
    # 7 Encryption
    "7.1 a header spelt otherwise sends the prompt in clear": "transport/test_encrypted_wire::who_asks_for_encryption_in_a_row_sends_nothing_at_all",
    "7.1 headers that differ in their case": "transport/test_encrypting::headers_that_differ_in_their_case_cannot_switch_it_off",
    "7.1 calls other than chat are not encrypted": "transport/test_encrypting::what_cannot_be_sealed_is_refused_and_never_sent",
    "7.2 an expired certificate is used by the SDK": "transport/test_encrypted_wire::a_certificate_that_must_not_be_used",
    "7.2 a certificate on another curve": "transport/test_encrypted_wire::a_certificate_that_must_not_be_used",
    "7.2 a certificate of another kind": "transport/test_encrypted_wire::in_confidential_computing_a_certificate_of_another_host_is_none",
    "7.2 an error inside a 200": "transport/test_encrypted_wire::a_certificate_that_does_not_come",
    "7.2 the fetch blocks the SDK's loop, and each call would fetch": "transport/test_encrypting::a_thousand_calls_share_one_certificate",
    "7.2 E2E_CERTIFICATE_PATH": "engine/test_encrypted_runs::a_certificate_that_is_named_is_used_and_nobody_is_asked_for_one",
    "7.2 VOLC_ARK_ENCRYPTION with any other value than AICC": "config/test_server_choice::a_flavour_of_encryption_that_the_sdk_would_pass_over_is_refused",
    "7.3 one nonce for all fields, and for all tries of the SDK": "transport/test_encrypting::each_attempt_has_a_secret_of_its_own",
    "7.3 the secret, the token and the ciphertext of the SDK": "protocol/test_encryption::with_the_sdks_secret_we_send_what_the_sdk_sends",
    "7.4 headers to the letter, in both flavours": "transport/test_encrypting::confidential_computing_asks_for_and_names_its_own_keys",
    "7.4 the caller's own body and headers are not touched": "protocol/test_encryption::the_callers_body_is_not_touched",
    "7.5 parts that cannot be encrypted": "engine/test_encrypted_runs::a_row_that_cannot_be_encrypted_fails_and_nothing_of_it_is_sent",
    "7.5 data URLs are encrypted whole": "engine/test_image_runs::a_sealed_run_sends_its_images_sealed",
    "7.6 several blobs in a row": "protocol/test_encryption::replies_of_several_blobs_open_as_in_the_sdk",
    "7.6 a reply in clear, which the SDK makes an empty text": "engine/test_encrypted_runs::an_answer_in_clear_or_under_another_key_is_an_error_and_never_an_empty_success",
    "7.6 a reply under another key": "engine/test_encrypted_runs::an_answer_in_clear_or_under_another_key_is_an_error_and_never_an_empty_success",
    "7.6 moderation ends an answer in clear, and reasoning and tool calls always come so": "protocol/test_encryption::what_the_service_never_seals_stays_as_it_is",
    "7.6 errors come in clear": "transport/test_encrypting::errors_come_through_as_they_are",
    # 9 Surprises
    "9.1 a call of the batch lane is held open for days": "engine/test_access_key_runs::a_week_on_the_batch_lane_with_a_new_key_each_day",
    "9.1 with TCP keep-alive": "protocol/test_batch_lane::a_held_connection_shows_signs_of_life",
    "9.1 and with connect and read timeouts apart": "protocol/test_batch_lane::what_is_left_out_suits_the_lane_and_what_is_said_stands",
    "9.2 the SDK asks a full batch lane again without a pause": "protocol/test_batch_lane::a_line_that_is_often_full_is_waited_out",
    "9.3 the SDK passes over Retry-After online": "protocol/test_verdict::retry_after_is_obeyed_whatever_the_error",
    "9.4 content_filter, empty content and length come with status 200": "protocol/test_verdict::what_a_finish_reason_or_an_empty_answer_means_is_the_jobs_choice",
    "9.4 an error in a 200, which the SDK does not raise": "protocol/test_verdict::an_error_inside_a_200_is_judged_as_if_it_had_its_status",
    "9.5 a finish reason is required": "protocol/test_stream::an_answer_without_finish_reason_is_truncated",
    "9.6 max_tokens and max_completion_tokens exclude each other": "protocol/test_endpoints::what_cannot_be_sent_is_named_with_its_value_and_what_is_allowed",
    "9.6 thinking takes half an hour": "transport/test_transport::a_slow_answer_that_keeps_talking_is_no_timeout",
    "9.7 parameters that a model refuses fail their row": "protocol/test_verdict::the_error_table",
    "9.8 the tier that was asked for is not the tier that served": "pricing/test_pricer::the_column_of_a_lane_and_service_tier",
    "9.9 an endpoint id on the wrong lane": "protocol/test_batch_lane::what_is_on_the_wrong_lane_is_refused_before_the_first_call",
    "9.10 several choices": "protocol/test_stream::several_choices_are_kept_apart",
    "9.11 vectors are matched by index": "protocol/test_endpoints::vectors_are_matched_by_index",
    "9.11 256 inputs at most": "protocol/test_endpoints::embeddings_inputs_beyond_arks_limits_are_refused",
    "9.11 data of multimodal embeddings is an object": "engine/test_image_runs::multimodal_embeddings_take_files_too",
    "9.12 null is absent": "test_traps::a_null_is_no_value",
    "9.13 the model that answers has another name than the one that was asked": "protocol/test_verdict::an_answer_is_done_with_its_usage",
    "9.14 failed calls count, and steep ramps are refused": "limits/test_adaptive_limit::a_service_with_a_ramp_is_met_gently",
    "9.15 QuotaExceeded means three things": "protocol/test_verdict::the_error_table",
    "9.15 when a quota returns stands in the text alone": "protocol/test_verdict::a_plan_quota_that_returns_soon_is_waited_for",
    "9.16 each attempt has an id of its own": "engine/test_worker_pool::each_attempt_has_an_id_of_its_own_that_leads_to_the_line",
    "9.17 a connection that rested may be gone": "test_traps::a_connection_that_rested_for_longer_than_the_sdk_would_let_it_is_not_used_again",
    "9.18 faults of the SDK's asynchronous client": "simulator/test_sdk_judge::the_asynchronous_client_too",
    "9.19 encryption without a check of anything": "protocol/test_encryption::a_certificate_is_checked_before_it_is_used",
    "9.20 images of 10 MB and bodies of 64 MB": "rows/test_media_files::a_body_over_its_limit_is_refused_before_an_image_is_read",
    "9.21 the quota of the batch lane slides over a day": "protocol/test_verdict::a_day_quota_pauses_long_unless_the_server_says_how_long",
    "9.22 tokens from the prefix cache are counted apart": "protocol/test_endpoints::a_chat_answer_is_read_with_its_meters",
    "9.23 a pool smaller than the concurrency caps it": "transport/test_transport::the_pool_is_as_large_as_the_concurrency",
}


@cache
def names_in(module):
    tree = ast.parse((HERE / f"{module}.py").read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_has_its_test(trap):
    module, _, name = TRAPS[trap].partition("::")
    assert f"test_{name}" in names_in(module)


def test_a_null_is_no_value(tmp_path):
    """As the SDK writes what was not given. Such a row passes, and a default does not take the place of its null."""
    left_out = dict.fromkeys(("temperature", "stop", "tools", "max_tokens", "logprobs", "stream", "n", "thinking"))
    body = {"messages": [{"role": "user", "content": "x"}], "max_completion_tokens": 9, **left_out}
    path = prompts(tmp_path, {"custom_id": "a", "body": body})
    read = RowReader(resolve_job(str(path), {"model": "m"}, {"ARK_API_KEY": "k"}, tmp_path)).read_row(
        1, 0, path.read_bytes()
    )
    assert isinstance(read, Row)
    assert ENDPOINTS["chat"].size(read.body).ceiling == 9
    assert orjson.loads(orjson.dumps(read.body)) == {**body, "model": "m"}


@pytest.mark.parametrize(("seconds", "connections"), [(4.0, 1), (6.0, 2)])
def test_a_connection_that_rested_for_longer_than_the_sdk_would_let_it_is_not_used_again(
    monkeypatch, seconds, connections
):
    opened = []

    async def answer(reader, writer):
        opened.append(writer)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2)
                writer.write(whole())
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        monkeypatch.setattr("aiohttp.connector.monotonic", asyncio.get_running_loop().time)
        async with open_transport(url, ApiKey(Secret("k")), Timeouts(), 4) as transport:
            for _ in range(2):
                assert (await transport.send(Call("c", "chat", "/chat/completions", b"{}"))).status == 200
                await asyncio.sleep(seconds)
        server.close()

    run_virtual(main())
    assert len(opened) == connections
