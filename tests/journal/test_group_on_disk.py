from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.journal.group_on_disk import Partitions, digest_key

KEYS = st.integers(0, 2**64 - 1)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(KEYS | st.sampled_from([1, 129]), st.integers(0, 2**64 - 1))))
def test_nothing_is_lost_and_a_key_stays_together_in_order(pairs):
    with Partitions(2) as parts:
        for pair in pairs:
            parts.add(*pair)
        groups = [list(group) for group in parts.groups_by_key()]
    assert Counter(pair for group in groups for pair in group) == Counter(pairs)
    for key, _ in pairs:
        holding = [group for group in groups if any(each[0] == key for each in group)]
        assert len(holding) == 1
        assert [each for each in holding[0] if each[0] == key] == [pair for pair in pairs if pair[0] == key]


def test_its_files_have_no_name(tmp_path):
    with Partitions(1, tmp_path) as parts:
        parts.add(7)
        assert list(tmp_path.iterdir()) == []


def test_keys_are_the_same_in_every_process_and_take_any_text():
    assert digest_key("a") == digest_key("a") != digest_key("b")
    assert 0 <= digest_key("\ud800") < 2**64
