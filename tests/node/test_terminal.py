"""Enter in a terminal is heard; no terminal is no fault."""

import asyncio
import os
import pty

from tieline.rim.terminal import at_enter


def test_each_enter_in_the_terminal_is_heard_until_the_block_is_left() -> None:
    async def play() -> int:
        theirs, ours = pty.openpty()
        heard: asyncio.Queue[int] = asyncio.Queue()
        with at_enter(lambda: heard.put_nowait(1), ours) as has_terminal:
            assert has_terminal
            count = 0
            for _ in range(2):
                os.write(theirs, b"\n")
                count += await asyncio.wait_for(heard.get(), 10)
        os.write(theirs, b"\n")
        await asyncio.sleep(0.05)
        os.close(theirs)
        os.close(ours)
        return count + heard.qsize()

    assert asyncio.run(play()) == 2


def test_what_is_no_terminal_is_never_read() -> None:
    async def play() -> bytes:
        reads, writes = os.pipe()
        os.write(writes, b"meant for another\n")
        with at_enter(lambda: None, reads) as has_terminal:
            assert not has_terminal
            await asyncio.sleep(0)
        return os.read(reads, 100)

    assert asyncio.run(play()) == b"meant for another\n"
