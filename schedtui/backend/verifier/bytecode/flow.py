"""The ways through one function: its blocks, in which order to look at them, and its loops.

What the instructions do is for ``walk``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec import Struct

from schedtui.backend.verifier.elf import CALL, LD_IMM64, Instruction

JUMP, JUMP32 = 5, 6
ALWAYS, EXIT, MAY_GOTO = 0x00, 0x90, 0xE0


class Loop(Struct, frozen=True):
    """Blocks that are gone through again and again. ``exits`` are blocks in it from which a way leads out."""

    head: int
    blocks: frozenset[int]
    exits: frozenset[int]


class Flow(Struct, frozen=True):
    """The blocks of a function, each by its first instruction. ``order`` is one in which no block comes before
    those that lead to it, loops aside; ``last`` the last instruction of each block."""

    last: dict[int, int]
    successors: dict[int, tuple[int, ...]]
    order: dict[int, int]
    loops: tuple[Loop, ...]

    def loops_around(self, block: int) -> Iterator[Loop]:
        """The loops that a block is in."""
        return (each for each in self.loops if block in each.blocks)


class Malformed(Exception):
    """A jump leads out of the function."""


def is_jump(instruction: Instruction) -> bool:
    kind = instruction.code & 7
    return kind in (JUMP, JUMP32) and instruction.code != CALL and instruction.code & 0xF0 != EXIT


def target(place: int, instruction: Instruction) -> int:
    """Where a jump leads."""
    far = instruction.code == JUMP32 | ALWAYS
    return place + 1 + (instruction.imm if far else instruction.off)


def flow_of(instructions: Sequence[Instruction]) -> Flow:
    """Raises Malformed."""
    starts = _starts(instructions)
    last, successors = {}, {}
    for start, end in zip(starts, [*starts[1:], len(instructions)], strict=True):
        final = end - 1
        if final > start and instructions[final].code == 0 and instructions[final - 1].code == LD_IMM64:
            final -= 1
        last[start] = final
        successors[start] = _successors(instructions, final, end)
    order = _order(successors)
    return Flow(last, successors, order, tuple(_loops(successors, order)))


def _starts(instructions: Sequence[Instruction]) -> list[int]:
    starts = {0}
    for place, each in enumerate(instructions):
        if is_jump(each):
            to = target(place, each)
            if not 0 <= to < len(instructions):
                raise Malformed
            starts.add(to)
        if (is_jump(each) or each.code & 0xF7 == EXIT | JUMP) and place + 1 < len(instructions):
            starts.add(place + 1)
    return sorted(starts)


def _successors(instructions: Sequence[Instruction], final: int, following: int) -> tuple[int, ...]:
    each = instructions[final]
    if each.code & 7 in (JUMP, JUMP32) and each.code & 0xF0 == EXIT:
        return ()
    if is_jump(each):
        to = target(final, each)
        if each.code & 0xF0 == ALWAYS:
            return (to,)
        following_too = (following,) if following < len(instructions) else ()
        return (*following_too, to)
    if following >= len(instructions):
        raise Malformed
    return (following,)


def _order(successors: dict[int, tuple[int, ...]]) -> dict[int, int]:
    """Reverse postorder from the first block."""
    seen, finished = {0}, []
    stack = [(0, iter(successors[0]))]
    while stack:
        block, ways = stack[-1]
        following = next((each for each in ways if each not in seen), None)
        if following is None:
            finished.append(block)
            stack.pop()
        else:
            seen.add(following)
            stack.append((following, iter(successors[following])))
    return {block: index for index, block in enumerate(reversed(finished))}


def _loops(successors: dict[int, tuple[int, ...]], order: dict[int, int]) -> Iterator[Loop]:
    """One for each block that is jumped back to."""
    before: dict[int, list[int]] = {}
    back: dict[int, list[int]] = {}
    for block in order:
        for following in successors[block]:
            before.setdefault(following, []).append(block)
            if order[following] <= order[block]:
                back.setdefault(following, []).append(block)
    for head, tails in back.items():
        blocks = {head}
        waiting = list(tails)
        while waiting:
            block = waiting.pop()
            if block not in blocks:
                blocks.add(block)
                waiting += [each for each in before.get(block, ()) if order[each] > order[head]]
        exits = frozenset(
            each for each in blocks if not successors[each] or any(to not in blocks for to in successors[each])
        )
        yield Loop(head, frozenset(blocks), exits)
