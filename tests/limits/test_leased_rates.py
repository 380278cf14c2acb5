"""The worker's side of leased limits: it sends nothing without a lease, and ends when it is told."""

import asyncio

from virtual import run_virtual

from arkbatch.limits.lease_core import LeaseCore
from arkbatch.limits.lease_messages import SharedLimits
from arkbatch.limits.leased_pace import WorkerPlaces
from arkbatch.limits.leased_rates import CoordinatorLost, LeasedRates, ShardTaken
from arkbatch.limits.token_split import Tokens


class Limiter:
    in_flight = waiting = 0


def rates_of(ask):
    clock = asyncio.get_running_loop().time
    return LeasedRates(ask, worker="w", shard=0, attempt=1, places=WorkerPlaces(8), clock=clock)


async def until_granted(rates, loop):
    while (wait := rates.ready_in(loop.time(), Tokens())) > 0:  # noqa: ASYNC110 - as the limiter does
        await asyncio.sleep(wait)


def test_a_conversation_ends_when_it_is_cancelled_together_with_a_reason_to_ask():
    async def main():
        loop = asyncio.get_running_loop()
        core = LeaseCore(SharedLimits(8, requests_per_minute=600.0), loop.time())

        async def ask(request):
            return core.grant_lease(loop.time(), request)

        rates = rates_of(ask)
        keeper = asyncio.ensure_future(rates.renew_leases(Limiter(), lambda: False))
        await until_granted(rates, loop)
        rates.spend_tokens(loop.time(), Tokens())  # the lease is low now, which wakes the conversation
        rates.pace.note_refusal(loop.time(), type("Permit", (), {"at": loop.time()}), "rate", None)
        keeper.cancel()
        await asyncio.wait([keeper], timeout=30)
        assert keeper.cancelled()

    run_virtual(main())


def test_without_a_coordinator_nothing_is_sent_and_with_it_again_all_goes_on():
    async def main():
        loop = asyncio.get_running_loop()
        core, is_down = LeaseCore(SharedLimits(8, requests_per_minute=600.0), loop.time()), [True]

        async def ask(request):
            if is_down[0]:
                raise CoordinatorLost
            return core.grant_lease(loop.time(), request)

        rates = rates_of(ask)
        keeper = asyncio.ensure_future(rates.renew_leases(Limiter(), lambda: False))
        await asyncio.sleep(60)
        assert rates.ready_in(loop.time(), Tokens()) > 0
        is_down[0], began = False, loop.time()
        await until_granted(rates, loop)
        assert loop.time() - began < 3.0
        keeper.cancel()

    run_virtual(main())


def test_two_attempts_of_a_worker_share_its_calls_at_once():
    places, last, next_ = WorkerPlaces(8), Limiter(), Limiter()
    places.add_limiter(last)
    places.add_limiter(next_)
    places.granted, last.in_flight, next_.in_flight = 8, 3, 4
    assert not places.are_taken(next_.in_flight)
    next_.in_flight = 5
    assert places.are_taken(next_.in_flight)
    places.remove_limiter(last)
    assert not places.are_taken(next_.in_flight)
    places.remove_limiter(next_)
    assert places.are_taken(0)


def test_a_worker_whose_shard_was_taken_stops():
    async def main():
        loop = asyncio.get_running_loop()
        core = LeaseCore(SharedLimits(8), loop.time())
        core.admit_attempt(0, 2)

        async def ask(request):
            return core.grant_lease(loop.time(), request)

        try:
            await rates_of(ask).renew_leases(Limiter(), lambda: False)
        except ShardTaken as taken:
            return str(taken)
        return ""

    assert "given to another worker" in run_virtual(main())
