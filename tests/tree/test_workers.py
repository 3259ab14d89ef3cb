"""Processes that work along: every answer arrives, errors keep their class, and nothing is left of them."""

from __future__ import annotations

import os
import signal

import making
import pytest

from jvs import errors
from jvs.tree import parallel, workers


@pytest.fixture
def three(monkeypatch):
    """Let there be three processes, also next to the threads of the test runner."""
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(workers.Workers, "processes", 3)


@pytest.fixture
def crew(three):
    """Begin processes for some work, and end them."""
    begun = []

    def begin(work):
        begun.append(workers.Workers(work, 0))
        begun[-1].begin()
        return begun[-1]

    yield begin
    for one in begun:
        one.end()


def open_files() -> int:
    return len(making.descriptors())


def test_every_order_is_answered_once(crew):
    there = crew(lambda order, descriptors: (order, os.getpid(), len(descriptors)))
    answers = []
    here = 0
    for i in range(200):
        if not there.offer(i, [0, 1], answers.append):
            here += 1
            there.wait()
    there.wait()
    assert len({order for order, _, _ in answers}) == len(answers) == 200 - here
    assert len({pid for _, pid, _ in answers} - {os.getpid()}) == 2
    assert {count for _, _, count in answers} == {2}


def test_nobody_gets_more_than_some_orders(crew):
    begin, end = os.pipe()
    there = crew(lambda order, descriptors: os.read(descriptors[0], 1))
    answers = []
    given = [there.offer(i, [begin], answers.append) for i in range(20)]
    assert given == [True] * 2 * workers.WAITING_ORDERS + [False] * (20 - 2 * workers.WAITING_ORDERS)
    os.write(end, b"x" * sum(given))
    there.wait()
    assert answers == [b"x"] * sum(given)
    os.close(begin)
    os.close(end)


def test_orders_and_answers_of_any_size_pass(crew):
    there = crew(lambda order, descriptors: order * 2)
    answers = []
    for _ in range(2 * workers.WAITING_ORDERS):
        assert there.offer(bytes(3_000_000), [0], answers.append)
    there.wait()
    assert [len(answer) for answer in answers] == [6_000_000] * 2 * workers.WAITING_ORDERS


def test_a_directory_that_is_closed_here_is_open_there(crew, tmp_path):
    (tmp_path / "x").write_text("text")
    there = crew(lambda order, descriptors: sorted(os.listdir(descriptors[0])))
    before = open_files()
    fd = os.open(tmp_path, os.O_RDONLY)
    answers = []
    there.offer(None, [fd], answers.append)
    os.close(fd)
    there.wait()
    assert answers == [["x"]]
    assert open_files() == before


def test_descriptors_do_not_add_up_there(crew, tmp_path):
    there = crew(lambda order, descriptors: len(making.descriptors()))
    answers = []
    for _ in range(50):
        there.offer(None, [0, 1, 2], answers.append)
        there.wait()
    assert len(set(answers)) <= 2


@pytest.mark.parametrize("kind", [errors.NoSpace, errors.IOFailure, errors.CloneIncomplete, errors.PathEscape])
def test_an_error_keeps_its_class_and_its_words(crew, kind):
    def work(order, descriptors):
        raise kind("it is so", hint="do that", path="a", errno=28)

    there = crew(work)
    there.offer(None, [0], lambda value: None)
    with pytest.raises(kind) as found:
        there.wait()
    assert type(found.value) is kind
    assert (found.value.message, found.value.hint, found.value.facts) == (
        "it is so",
        "do that",
        {"path": "a", "errno": 28},
    )


def test_a_fault_of_the_program_is_one_here_too(crew):
    there = crew(lambda order, descriptors: 1 // order)
    there.offer(0, [0], lambda value: None)
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        there.wait()


def test_what_one_process_cannot_deal_with_alone_is_said(crew):
    def work(order, descriptors):
        raise workers.Unsteady

    there = crew(work)
    there.offer(None, [0], lambda value: None)
    with pytest.raises(workers.Unsteady):
        there.wait()


@pytest.mark.parametrize("when", ["idle", "at work"])
def test_a_process_that_is_killed_is_an_error(crew, when):
    there = crew(lambda order, descriptors: os.kill(os.getpid(), signal.SIGKILL) if order else None)
    if when == "idle":
        for worker in there._running:
            os.kill(worker._pid, signal.SIGKILL)
            os.waitid(os.P_PID, worker._pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(errors.IOFailure, match="was killed"):
        there.offer(when == "at work", [0], lambda value: None)
        there.wait()


def test_nothing_is_left_of_them(three):
    before = open_files()
    there = workers.Workers(lambda order, descriptors: signal.pause(), 0)
    there.begin()
    pids = [worker._pid for worker in there._running]
    there.offer(None, [0], lambda value: None)
    there.end()
    assert len(pids) == 2 and not there.are_there
    assert open_files() == before
    for pid in pids:
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, 0)


def test_they_end_when_the_process_that_gives_orders_is_gone(three):
    heard, tell = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        there = workers.Workers(lambda order, descriptors: None, 0)
        there.begin()
        os.write(tell, b" ".join(b"%d" % worker._pid for worker in there._running))
        os._exit(0)  # without a word to them
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(heard, "rb") as stream:
        assert len(stream.read().split()) == 2  # the end of the pipe: those who had it are gone


def test_no_more_processes_is_no_error(three, monkeypatch):
    def refuse():
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(os, "fork", refuse)
    before = open_files()
    there = workers.Workers(lambda order, descriptors: None, 0)
    there.begin()
    assert not there.are_there and not there.offer(None, [0], lambda value: None)
    assert open_files() == before


@pytest.mark.parametrize(("most", "threads"), [(1, False), (0, True)])
def test_there_are_none_where_they_are_off_or_there_are_threads(monkeypatch, most, threads):
    monkeypatch.setattr(parallel, "processors", lambda: 4)
    monkeypatch.setattr(parallel, "has_threads", lambda: threads)
    there = workers.Workers(lambda order, descriptors: None, most)
    there.begin()
    assert not there.are_there
