"""The broker hands out trials, keeps what lanes say, and bounds the attempts of a trial whose lane keeps dying."""

import asyncio
from collections.abc import Awaitable, Callable

from raypose.tuning.broker import Broker

RUN = {"lr": 0.1}


def play(scene: Callable[[Broker], Awaitable[None]], retries: int = 1) -> None:
    async def main() -> None:
        await asyncio.wait_for(scene(Broker(retries, lanes=2)), timeout=5)

    asyncio.run(main())


def test_a_trial_goes_to_a_free_lane_and_its_messages_back() -> None:
    async def scene(broker: Broker) -> None:
        waiting = asyncio.create_task(broker.next_job(lane=0))
        await broker.submit(7, RUN)
        assert await waiting == (7, RUN)
        epoch = asyncio.create_task(broker.committed(7, 1))
        assert await broker.messages(7, after=0) == [{"kind": "begin", "attempt": 1}]
        assert await broker.messages(7, after=1) == [{"kind": "epoch", "epoch": 1}]
        await broker.decide(7, 1, stop=False)
        assert await epoch is False
        await broker.end(0, 7, None)
        assert await broker.messages(7, after=2) == [{"kind": "end", "error": None}]

    play(scene)


def test_the_lane_waits_for_the_verdict_of_its_own_epoch() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.next_job(0)
        epoch = asyncio.create_task(broker.committed(7, 2))
        await broker.decide(7, 1, stop=False)
        await asyncio.sleep(0.05)
        assert not epoch.done()
        await broker.decide(7, 2, stop=True)
        assert await epoch is True

    play(scene)


def test_a_trial_process_that_comes_back_hears_everything_again() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.next_job(0)
        await broker.messages(7, after=0)
        await broker.submit(7, RUN)
        assert await broker.messages(7, after=0) == [{"kind": "begin", "attempt": 1}]
        await broker.end(0, 7, None)
        waiting = asyncio.create_task(broker.next_job(0))
        await asyncio.sleep(0.05)
        assert not waiting.done(), "the trial must not be queued twice"
        await broker.close()
        assert await waiting == "close"

    play(scene)


def test_a_lane_that_died_gets_its_trial_again_until_the_attempts_are_used_up() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.submit(8, RUN)
        assert await broker.next_job(0) == (7, RUN)
        assert await broker.next_job(0) == (7, RUN)
        await broker.note(7, "RuntimeError: gone", True)
        assert await broker.next_job(0) == (8, RUN)
        messages = await broker.messages(7, after=0)
        assert [m["kind"] for m in messages] == ["begin", "begin", "end"]
        assert messages[-1]["error"] == "RuntimeError: gone (attempt 2 of 2)"

    play(scene, retries=1)


def test_closing_sends_idle_lanes_home_and_aborts_what_is_unfinished() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.next_job(0)
        epoch = asyncio.create_task(broker.committed(7, 1))
        idle = asyncio.create_task(broker.next_job(1))
        await asyncio.sleep(0)
        await broker.close()
        assert await idle == "close"
        assert await epoch is True, "the lane must not wait for a verdict that nobody will give"
        await broker.submit(9, RUN)
        assert [m["kind"] for m in await broker.messages(7, after=0)] == ["begin", "epoch", "abort"]
        assert await broker.messages(9, after=0) == [{"kind": "abort"}]

    play(scene)


def test_a_lane_that_died_after_a_stop_does_not_get_the_trial_again() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.next_job(0)
        epoch = asyncio.create_task(broker.committed(7, 1))
        await broker.decide(7, 1, stop=True)
        assert await epoch is True
        await broker.submit(8, RUN)
        assert await broker.next_job(0) == (8, RUN)

    play(scene)


def test_the_question_of_a_dead_worker_takes_no_trial() -> None:
    async def scene(broker: Broker) -> None:
        dead = asyncio.create_task(broker.next_job(0))
        await asyncio.sleep(0)
        living = asyncio.create_task(broker.next_job(0))
        await asyncio.sleep(0)
        await broker.submit(7, RUN)
        assert await living == (7, RUN)
        assert await dead == "close"

    play(scene)


def test_an_idle_lane_is_asked_to_ask_again() -> None:
    async def scene(broker: Broker) -> None:
        assert await broker.next_job(0, patience_s=0.05) == "wait"
        await broker.submit(7, RUN)
        assert await broker.next_job(0, patience_s=0.05) == (7, RUN)

    play(scene)


def test_a_failure_that_may_pass_is_tried_again_and_one_that_may_not_is_not() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        for _ in range(2):
            assert await broker.next_job(0) == (7, RUN)
            await broker.end(0, 7, "OSError: disk", again=True)
        assert (await broker.messages(7, after=2))[0] == {"kind": "end", "error": "OSError: disk (attempt 2 of 2)"}
        await broker.submit(8, RUN)
        await broker.next_job(0)
        await broker.end(0, 8, "DivergedError: NaN")
        assert (await broker.messages(8, after=1))[0] == {"kind": "end", "error": "DivergedError: NaN"}

    play(scene, retries=1)


def test_the_trial_of_a_lane_that_is_lost_goes_to_another_and_without_any_all_is_aborted() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        await broker.next_job(0)
        await broker.lost(0, "no room")
        assert await broker.why_closed() is None
        assert await broker.next_job(1) == (7, RUN)
        await broker.lost(1, "no room either")
        assert (await broker.messages(7, after=0))[-1]["kind"] == "abort"
        assert await broker.why_closed() == "the workers could not be kept running: no room either"

    play(scene)


def test_what_would_hit_every_trial_halts_all_and_says_why() -> None:
    async def scene(broker: Broker) -> None:
        heard = asyncio.create_task(broker.closing())
        await broker.submit(7, RUN)
        await broker.next_job(0)
        await asyncio.sleep(0)
        assert not heard.done()
        await broker.halt("the disk is full")
        await heard
        assert (await broker.messages(7, after=0))[-1]["kind"] == "abort"
        await broker.end(0, 7, "OSError: no space", again=True)
        assert await broker.next_job(0) == "close"
        await broker.lost(0, "later")
        await broker.lost(1, "later")
        assert await broker.why_closed() == "the disk is full"

    play(scene)


def test_a_batch_that_did_not_fit_is_no_attempt() -> None:
    async def scene(broker: Broker) -> None:
        await broker.submit(7, RUN)
        for _ in range(3):
            assert await broker.next_job(0) == (7, RUN)
            await broker.note(7, "OutOfMemoryError", False)
        assert await broker.next_job(0) == (7, RUN)
        await broker.note(7, "RuntimeError", True)
        assert await broker.next_job(0) == "close"
        kinds = [(m["kind"], m.get("attempt")) for m in await broker.messages(7, after=0)]
        assert kinds == [("begin", 1)] * 4 + [("end", None)]

    async def closing(broker: Broker) -> None:
        closer = asyncio.create_task(scene(broker))
        await asyncio.sleep(0.1)
        await broker.close()
        await closer

    play(closing, retries=0)
