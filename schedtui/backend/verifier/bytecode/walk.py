"""Go all ways through the callbacks of a policy, and note what happens on them.

It interprets the instructions with what is known of each register: a number, a few numbers, or where a value comes from
(``values``). Ways that meet are joined unless they differ in what the rules ask about (``Key``). Loops are gone
through until nothing new is learned. The work is bounded: what is too entangled raises TooHard.

Functions of the kernel that only some kernels have are taken as there, or as missing, all together: one walker
for each. What the events mean is for the rules.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import NamedTuple

from schedtui.backend.verifier.btf import Adapted
from schedtui.backend.verifier.bytecode import calls, values
from schedtui.backend.verifier.bytecode.events import (
    ALLOWED,
    EXCUSED,
    FAILED,
    MADE,
    NULL,
    PINNED,
    RENEWED,
    STATELESS,
    Create,
    Drain,
    Enter,
    Event,
    Insert,
    Key,
    Kick,
    Look,
    Mixed,
    Move,
    Parked,
    Recall,
    Repeats,
    Return,
    SetSlice,
    Step,
    Store,
    Strike,
    Taken,
)
from schedtui.backend.verifier.bytecode.flow import MAY_GOTO, Flow, Malformed, flow_of, target
from schedtui.backend.verifier.bytecode.state import (
    MIRRORED,
    NONE_TAKEN,
    NOT_PLACED,
    OPPOSITE,
    State,
    assume,
    at,
    from_stack,
    narrowed,
    put,
    to_stack,
)
from schedtui.backend.verifier.bytecode.values import (
    Argument,
    Choice,
    Const,
    Context,
    Count,
    Field,
    Function,
    Load,
    MapAddress,
    Result,
    Site,
    Stack,
    Unknown,
    Value,
    Variable,
    Walk,
    displaced,
    labels,
    place_labels,
    signed,
    split_offset,
)
from schedtui.backend.verifier.elf import CALL, LD_IMM64, Global, Instruction, ObjectFile, Program

_MOST_STEPS = 60_000
"""Instructions looked at in one callback: some hundred times what the largest callbacks of real schedulers have."""

_MOST_STEPS_IN_ALL = 200_000
_MOST_KEYS = 96
_DEEPEST_CALL = 8
_LOOP_ROUNDS = 2
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_SIGNS = {
    0x00: "+",
    0x10: "-",
    0x20: "*",
    0x30: "/",
    0x40: "|",
    0x50: "&",
    0x60: "<<",
    0x70: ">>",
    0x90: "%",
    0xA0: "^",
    0xC0: "s>>",
}
_LDX, _ST, _STX, _ALU32, _JMP, _JMP32, _ALU64 = 1, 2, 3, 4, 5, 6, 7
_WIDE = (1 << 64) - 1

_COMPARISONS = {
    0x10: "==",
    0x50: "!=",
    0x20: "u>",
    0x30: "u>=",
    0xA0: "u<",
    0xB0: "u<=",
    0x60: ">",
    0x70: ">=",
    0xC0: "<",
    0xD0: "<=",
    0x40: "&",
}
_TYPE_EXISTS, _FIELD_EXISTS, _VALUE_EXISTS, _VALUE, _FIELD_OFFSET = 8, 2, 10, 11, 0


_BEFORE_ANY_QUEUE = ("init_task", "enable", "prep_enable")
_QUEUES_ITS_TASK = ("enqueue", "select_cpu")
_NEVER_DRAINS = ("enqueue", "select_cpu", "running", "stopping", "runnable", "quiescent", "init_task", "enable")
_MARKS_ASKED_FOR = dict.fromkeys(_QUEUES_ITS_TASK, frozenset((EXCUSED, PINNED, ALLOWED, STATELESS)))
_MARKS_OF_OTHERS = frozenset((ALLOWED,))


class TooHard(Exception):
    """The program is too entangled to be followed."""


class _Frame(NamedTuple):
    """The function that is being walked through: called from where, and how often."""

    program: Program
    flow: Flow
    chain: tuple[int, ...]
    times: int


_States = dict[Key, State]


class Walker:
    """Walks through one object, as on a kernel that has all that is asked for, or as on one that has nothing of it."""

    def __init__(self, file: ObjectFile, *, on_new_kernel: bool) -> None:
        self._file = file
        self._exists = on_new_kernel
        self._programs = {each.name: each for each in file.programs}
        self._maps = {each.name: each for each in file.maps}
        self._constants = {(each.section, each.offset): each for each in file.globals if _is_constant(each)}
        self._flows: dict[str, Flow] = {}
        self._events: dict[tuple[type[Event], str, tuple[int, ...], Key], Event] = {}
        self._loop_bounds: dict[tuple[tuple[int, ...], int], int] = {}
        self._later: list[str] = []
        self._made_for_each: set[str] = set()
        self._gives_back = False
        self._root = ""
        self._asked: frozenset[str] = frozenset()
        self._drains = False
        self._steps = 0
        self._steps_in_all = 0
        self.too_hard: list[str] = []
        self.pointers: set[str] = set()
        """Labels of places from which addresses are loaded."""

    def walk(self, *, only: tuple[str, ...] = ()) -> list[Event]:
        """Everything that happens in the callbacks (``only`` in these), and in the functions that they call later."""
        waiting = [(each.op or each.name, each.name) for each in self._file.programs if self._is_entry(each)]
        waiting.sort(key=lambda each: (each[0] not in _BEFORE_ANY_QUEUE, each[0] in _QUEUES_ITS_TASK))
        done = set()
        while waiting:
            root, name = waiting.pop(0)
            if name in done or (only and root not in only):
                continue
            done.add(name)
            self._walk_callback(root, self._programs[name])
            waiting += [(each, each) for each in self._later]
            self._later.clear()
        return list(self._events.values())

    def _is_entry(self, program: Program) -> bool:
        return bool(program.op) or not program.section.startswith((".text", "struct_ops"))

    def _walk_callback(self, root: str, program: Program) -> None:
        self._root = root
        self._asked = _MARKS_ASKED_FOR.get(root, _MARKS_OF_OTHERS)
        self._drains = root not in _NEVER_DRAINS
        try:
            ends = self._all_ways(program)
            if root == "enqueue" and self.pointers and any(_seems_lost(key) for key in ends):
                # Again, now that it is known where addresses are kept: what is lost only without them is not lost.
                self._asked |= {NULL + each for each in self.pointers}
                self._events = {where: each for where, each in self._events.items() if each.root != root}
                ends = self._all_ways(program)
        except (TooHard, Malformed, IndexError, KeyError, RecursionError):
            self.too_hard.append(root)
            return
        if root in _BEFORE_ANY_QUEUE:
            self._made_for_each |= _made_on_all_ways(ends)
        for key, state in ends.items():
            self._note(Return, key, state, (-1,), (state.value(state.regs[0]),))

    def _all_ways(self, program: Program) -> _States:
        self._steps = 0
        start = State()
        start.regs[1] = Context() if program.section != ".text" else Argument(0)
        for index in range(2, 6):
            start.regs[index] = Argument(index - 1)
        return self._run(program, {Key(): start}, (), 1)

    # ---- one function

    def _flow(self, program: Program) -> Flow:
        if program.name not in self._flows:
            self._flows[program.name] = flow_of(program.instructions)
        return self._flows[program.name]

    def _run(self, program: Program, entry: _States, chain: tuple[int, ...], times: int) -> _States:
        """Every way from the function's start; the states at its ends."""
        if len(chain) > _DEEPEST_CALL:
            raise TooHard
        flow = self._flow(program)
        frame = _Frame(program, flow, chain, times)
        arrived: dict[int, _States] = {0: {}}
        changed: dict[int, dict[Key, None]] = {}
        heap: list[tuple[int, int]] = []
        ends: _States = {}

        def arrive(block: int, key: Key, state: State) -> None:
            there = arrived.setdefault(block, {})
            if key not in there:
                if len(there) >= _MOST_KEYS:
                    raise TooHard
                there[key] = state
            elif not there[key].meet(state, program.name, block):
                return
            waiting = changed.setdefault(block, {})
            if not waiting:
                heapq.heappush(heap, (flow.order[block], block))
            waiting[key] = None

        for key, state in entry.items():
            state.regs[10] = Stack(len(chain), 0)
            arrive(0, key, state)
        while heap:
            _, block = heapq.heappop(heap)
            for key in changed.pop(block):
                for to, new_key, state in self._run_block(frame, block, key, arrived[block][key].copy()):
                    if to is not None:
                        arrive(to, new_key, state)
                    elif new_key in ends:
                        ends[new_key].meet(state, program.name, -1)
                    else:
                        ends[new_key] = state
        return ends

    def _run_block(self, frame: _Frame, block: int, key: Key, state: State) -> Iterator[tuple[int | None, Key, State]]:
        """Where the block leads, with which state; nowhere: the function ends."""
        final = frame.flow.last[block]
        waiting = [(block, key, state)]
        while waiting:
            place, key, state = waiting.pop()
            while place <= final:
                self._steps += 1
                self._steps_in_all += 1
                if self._steps > _MOST_STEPS or self._steps_in_all > _MOST_STEPS_IN_ALL:
                    raise TooHard
                instruction = frame.program.instructions[place]
                if instruction.line and not instruction.line.file.endswith(".h"):
                    state.line = instruction.line
                kind = instruction.code & 7
                if instruction.code == CALL:
                    after = self._call(frame, block, place, instruction, key, state)
                    waiting += [(place + 1, *each) for each in after[1:]]
                    if not after:
                        break
                    key, state = after[0]
                elif kind in (_JMP, _JMP32):
                    yield from self._jump(frame, block, place, instruction, key, state)
                    break
                else:
                    key = self._compute(frame, place, instruction, kind, key, state)
                place += 2 if instruction.code == LD_IMM64 else 1
            else:
                yield frame.flow.successors[block][0], key, state

    # ---- instructions

    def _compute(self, frame: _Frame, place: int, instruction: Instruction, kind: int, key: Key, state: State) -> Key:
        site = (frame.program.name, place, 0)
        regs = state.regs
        code, dst = instruction.code, instruction.dst
        if code == LD_IMM64:
            regs[dst] = self._wide(instruction, site)
        elif kind == _LDX:
            self._note_mixed(frame, place, key, state, regs[instruction.src])
            regs[dst] = self._load(state, regs[instruction.src], instruction, site)
        elif kind in (_ST, _STX):
            return self._store(frame, place, instruction, kind, key, state)
        elif kind in (_ALU32, _ALU64):
            regs[dst] = self._calculate(state, instruction, kind == _ALU32, site)
        else:
            regs[0] = Unknown(site)
        return key

    def _wide(self, instruction: Instruction, site: Site) -> Value:
        reference = instruction.reference
        if reference is None:
            if instruction.adapted:
                return self._adapted_number(instruction.adapted, instruction.imm)
            return Const(instruction.imm & _WIDE)
        match reference.kind:
            case "map":
                return MapAddress(reference.name)
            case "global":
                return Variable(reference.section, reference.offset)
            case "program":
                return Function(reference.name)
            case "kfunc":
                return Const(1 if self._exists else 0)
        return Unknown(site)

    def _adapted_number(self, adapted: Adapted, otherwise: int) -> Value:
        if adapted.kind in (_TYPE_EXISTS, _FIELD_EXISTS, _VALUE_EXISTS):
            return Const(1 if self._exists else 0)
        return Const((adapted.value if adapted.kind == _VALUE else otherwise) & _WIDE)

    def _load(self, state: State, base: Value, instruction: Instruction, site: Site) -> Value:
        size = _SIZES[instruction.code & 0x18]
        if isinstance(base, Context):
            return Argument(instruction.off // 8)
        if isinstance(base, Stack):
            return from_stack(state, base.frame, base.offset + instruction.off, size, site)
        address = _address(base, instruction)
        self._points(base)
        if isinstance(address, Variable):
            constant = self._constant(address, size)
            if constant is not None:
                return constant
        return state.value(values.bounded(Load(address, size), site))

    def _points(self, base: Value) -> None:
        """Note that what was loaded from somewhere is used as an address."""
        pointer = split_offset(base)[0]
        if isinstance(pointer, Load):
            self.pointers |= labels(pointer)

    def _constant(self, address: Variable, size: int) -> Value | None:
        known = self._constants.get((address.section, address.offset))
        if known is None:
            return None
        if known.name in calls.FILLED_BY_LOADER:
            return Const(calls.FILLED_BY_LOADER[known.name])
        return Const(int.from_bytes(known.initial[:size], "little")) if known.size == size else None

    def _calculate(self, state: State, instruction: Instruction, narrow: bool, site: Site) -> Value:
        operation = instruction.code & 0xF0
        left = state.regs[instruction.dst]
        if instruction.code & 0x08:
            right = state.regs[instruction.src]
        elif instruction.adapted and instruction.adapted.kind == _FIELD_OFFSET and not narrow:
            if operation == 0x00:
                return Field(left, _field_name(instruction.adapted))
            right = Field(Const(0), _field_name(instruction.adapted))
        elif instruction.adapted:
            right = self._adapted_number(instruction.adapted, instruction.imm)
        else:
            right = Const(instruction.imm & (0xFFFFFFFF if narrow else _WIDE))
        if operation == 0xB0:
            return right
        if operation == 0x00:
            for one, other in ((left, right), (right, left)):
                if isinstance(other, Field) and other.base == Const(0):
                    return Field(one, other.name)
        if operation == 0x80:
            return values.combine("-", Const(0), left, site, narrow=narrow)
        if operation not in _SIGNS:
            return left  # byte order
        return values.combine(_SIGNS[operation], state.value(left), state.value(right), site, narrow=narrow)

    def _store(self, frame: _Frame, place: int, instruction: Instruction, kind: int, key: Key, state: State) -> Key:
        site = (frame.program.name, place, 0)
        size = _SIZES[instruction.code & 0x18]
        base = state.regs[instruction.dst]
        value = Const(instruction.imm & _WIDE) if kind == _ST else state.regs[instruction.src]
        atomic = kind == _STX and instruction.code & 0xE0 == 0xC0
        if isinstance(base, Stack):
            to_stack(state, base.frame, base.offset + instruction.off, size, Unknown(site) if atomic else value)
            return key
        address = _address(base, instruction)
        self._points(base)
        self._note_mixed(frame, place, key, state, base)
        if atomic:
            return self._change_atomically(frame, place, instruction, address, key, state)
        self._note_store(frame, place, key, state, address, value)
        if isinstance(address, Field) and address.name == "task.scx.slice":
            key = self._set_slice(key, state, (*frame.chain, place), address.base, state.value(value))
        state.forget(Load(address, size))
        if self._keeps_task(state, value):
            key = self._park(frame, place, key, state, None)
        return key

    def _change_atomically(
        self, frame: _Frame, place: int, instruction: Instruction, address: Value, key: Key, state: State
    ) -> Key:
        site = (frame.program.name, place, 0)
        value = state.regs[instruction.src]
        before = Unknown(site, place_labels(address))
        state.forget(before)
        if instruction.imm == 0x100:  # a load, not a change
            state.regs[instruction.dst] = before
            return key
        self._note_store(frame, place, key, state, address, value, adds=instruction.imm not in (0xE1, 0xF1, 0x110))
        state.forget(Load(address, _SIZES[instruction.code & 0x18]))
        if instruction.imm == 0xF1:
            state.regs[0] = before
        elif instruction.imm & 1:
            state.regs[instruction.src] = before
        return key

    def _note_store(
        self, frame: _Frame, place: int, key: Key, state: State, address: Value, value: Value, adds: bool = False
    ) -> None:
        to = place_labels(address)
        origins = labels(state.value(value)) | (to if adds else frozenset())
        event = self._event(Store, key, state, (address, value), to=to, origins=origins)
        self._keep(event, (*frame.chain, place))

    def _note_mixed(self, frame: _Frame, place: int, key: Key, state: State, base: Value) -> None:
        if values.mixes_tasks(base, calls.MOST_PROCESSES):
            self._keep(self._event(Mixed, key, state, (), to=place_labels(base)), (*frame.chain, place))

    def _set_slice(self, key: Key, state: State, where: tuple[int, ...], task: Value, slice_ns: Value) -> Key:
        self._note(SetSlice, key, state, where, (task, slice_ns))
        if self._root != "tick" or slice_ns == Const(0) or RENEWED in key.marks:
            return key
        return Key(key.placed, key.holding, key.marks | {RENEWED})

    def _keeps_task(self, state: State, value: Value) -> bool:
        """Whether what is written leads back to the task, from where another callback may queue it."""
        if self._root not in _QUEUES_ITS_TASK or not self._gives_back:
            return False
        return value == Argument(0) or bool(labels(value) & {"task.pid", "call:bpf_task_acquire"})

    # ---- branches

    def _jump(
        self, frame: _Frame, block: int, place: int, instruction: Instruction, key: Key, state: State
    ) -> Iterator[tuple[int | None, Key, State]]:
        operation = instruction.code & 0xF0
        if operation == 0x90:
            yield None, key, state
            return
        to = target(place, instruction)
        if operation == 0x00:
            yield to, key, state
            return
        if operation == MAY_GOTO:
            yield place + 1, key, state.copy()
            yield to, key, state
            return
        sign, left, right = self._condition(state, instruction)
        ways = []
        for goes_to, each_sign, after in ((to, sign, state.copy()), (place + 1, OPPOSITE[sign], state)):
            marks = assume(after, each_sign, left, right)
            if marks is not None:
                ways.append((goes_to, after, marks))
        about = labels(left) | labels(right) if len(ways) > 1 else frozenset()
        for goes_to, after, marks in ways:
            if len(ways) > 1 and after.line:
                if after.steps is None or after.steps.line != after.line:
                    after.steps = Step(after.steps, after.line)
                if not about <= after.decisions:
                    after.decisions |= about
            yield goes_to, self._marked(key, marks), after

    def _condition(self, state: State, instruction: Instruction) -> tuple[str, Value, Value]:
        sign = _COMPARISONS.get(instruction.code & 0xF0)
        narrow = instruction.code & 7 == _JMP32
        left = state.value(state.regs[instruction.dst])
        in_register = instruction.code & 0x08
        right = state.value(state.regs[instruction.src]) if in_register else Const(instruction.imm & _WIDE)
        if sign is None:
            raise TooHard
        if sign == "&":
            left = values.combine("&", left, right, (self._root, -2, 0))
            left, right, sign = state.value(left), Const(0), "!="
        if isinstance(left, Const) and not isinstance(right, Const):
            left, right, sign = right, left, MIRRORED[sign]
        if narrow:
            left, right = narrowed(left), narrowed(right)
        return sign, left, right

    def _marked(self, key: Key, marks: frozenset[str]) -> Key:
        if not marks:
            return key
        if NONE_TAKEN in marks:
            key = Key(key.placed, False, key.marks)
        if NOT_PLACED in marks:
            key = Key(False, key.holding, key.marks)
        if key.placed:  # whatever comes now is about other tasks
            return key
        ours = frozenset(each for each in marks if self._asks_for(each))
        return key if ours <= key.marks else Key(key.placed, key.holding, key.marks | ours)

    def _asks_for(self, mark: str) -> bool:
        if mark.startswith(FAILED):
            return self._drains
        return mark in self._asked

    # ---- calls

    def _call(
        self, frame: _Frame, block: int, place: int, instruction: Instruction, key: Key, state: State
    ) -> list[tuple[Key, State]]:
        reference = instruction.reference
        if reference and reference.kind == "program":
            return self._call_function(frame, block, place, reference.name, key, state)
        if reference:
            return self._call_kernel(frame, block, place, calls.plain_name(reference.name), key, state)
        if instruction.src == 2:  # already resolved, which is not in an object that is to be loaded
            raise TooHard
        return self._call_helper(frame, block, place, instruction.imm, key, state)

    def _call_function(
        self, frame: _Frame, block: int, place: int, name: str, key: Key, state: State
    ) -> list[tuple[Key, State]]:
        saved = state.regs[6:11]
        callee = self._programs[name]
        chain = (*frame.chain, place)
        inner = state.copy()
        ends = self._run(callee, {key: inner}, chain, self._times(frame, block))
        after = []
        for end_key, end in ends.items():
            end.regs[6:11] = saved
            end.line = state.line
            depth = len(chain)
            end.stack = {slot: value for slot, value in end.stack.items() if slot[0] < depth}
            after.append((end_key, end))
        return after

    def _times(self, frame: _Frame, block: int) -> int:
        """How often this block is gone through, as far as numbers of the source bound it."""
        times = frame.times
        for loop in frame.flow.loops_around(block):
            times *= self._loop_bounds.get((frame.chain, loop.head), 1)
        return times

    def _call_kernel(
        self, frame: _Frame, block: int, place: int, name: str, key: Key, state: State
    ) -> list[tuple[Key, State]]:
        site = (frame.program.name, place, 0)
        where = (*frame.chain, place)
        args = [state.value(each) for each in state.regs[1:6]]
        about: tuple[Value, ...] = ()
        result_name = name
        if name in calls.ENDS:
            return []
        if name.startswith(calls.TAKES_POINTERS):
            for each in args:
                self._points(each)
        if name in calls.INSERTS:
            key = self._insert(name, args, key, state, where)
        elif name in calls.MOVES_TO_LOCAL:
            self._note(Drain, key, state, where, (args[0], state.value(Argument(0))))
            about, result_name = (args[0],), "move"
        elif name in calls.MOVES_TASK:
            walk = at(state, args[0])
            queue = walk.queue if isinstance(walk, Walk) else Unknown(site, frozenset(("call:unknown queue",)))
            self._note(Drain, key, state, where, (queue, state.value(Argument(0))))
            self._note(Move, key, state, where, (args[2],))
        elif name == calls.CREATES:
            self._note(Create, key, state, where, (args[0],))
        elif name in calls.KICKS:
            self._note(Kick, key, state, where, (args[0], args[1]))
        elif name in calls.SETS_SLICE:
            key = self._set_slice(key, state, where, args[0], args[1])
        elif name in calls.SETS_SLICE_OF_MOVED:
            self._note(SetSlice, key, state, where, (Unknown(site), args[1]))
        elif name in calls.SETS_VTIME:
            self._note_store(frame, place, key, state, Field(args[0], "task.scx.dsq_vtime"), args[1])
        elif name in (calls.QUEUE_LENGTH, calls.PEEKS):
            self._note(Look, key, state, where, (args[0],))
            about = (args[0],)
        elif name in calls.CLOCKS:
            result_name = "now"
        elif name == calls.TESTS_CPU:
            about = (args[0], args[1])
        elif name == calls.SELECTS_CPU:
            idle = Result("is_idle", site)
            state.forget(idle)
            put(state, args[3], 1, idle)
        elif name in calls.PARKS:
            key = self._park(frame, place, key, state, None)
        elif name.startswith("bpf_iter_"):
            return self._iterate(frame, block, place, name, args, key, state)
        elif name in ("bpf_task_acquire", "bpf_rdonly_cast", "bpf_cast_to_kern_ctx"):
            about = (args[0],)
        self._return(state, Result(result_name, site, about))
        return [(key, state)]

    def _return(self, state: State, result: Value) -> None:
        state.forget(result)
        state.regs[0] = result
        for index in range(1, 6):
            state.regs[index] = Unknown(("", -1, index))

    def _insert(self, name: str, args: list[Value], key: Key, state: State, where: tuple[int, ...]) -> Key:
        if name == calls.INSERT_WITH_STRUCT:
            parts = [at(state, _displaced_stack(args[1], 8 * index)) for index in range(4)]
            queue, slice_ns, vtime, flags = (
                state.value(part) if part else Unknown((name, where[-1], index)) for index, part in enumerate(parts)
            )
        else:
            queue, slice_ns = args[1], args[2]
            vtime, flags = (args[3], args[4]) if calls.INSERTS[name] else (Const(0), args[3])
        self._gives_back = self._gives_back or self._root not in _QUEUES_ITS_TASK
        sorted_too = (vtime,) if calls.INSERTS[name] else ()
        self._note(Insert, key, state, where, (args[0], queue, slice_ns, flags, *sorted_too))
        own = self._root in _QUEUES_ITS_TASK and _may_be_own(args[0])
        return Key(True) if own or key.placed else Key(False, False, key.marks)

    def _iterate(
        self, frame: _Frame, block: int, place: int, name: str, args: list[Value], key: Key, state: State
    ) -> list[tuple[Key, State]]:
        site = (frame.program.name, place, 0)
        result: Value = Unknown(site)
        if name == "bpf_iter_scx_dsq_new":
            put(state, args[0], calls.ITERATOR_BYTES, Walk(args[1]))
            self._note(Look, key, state, (*frame.chain, place), (args[1],))
        elif name == "bpf_iter_num_new":
            put(state, args[0], 8, Count(args[1], args[2]))
        elif name == "bpf_iter_scx_dsq_next":
            walk = at(state, args[0])
            queue = walk.queue if isinstance(walk, Walk) else Unknown(site)
            self._note_walk(frame, block, place, key, state, queue)
            result = Result("next task", site, (queue,))
        elif name == "bpf_iter_num_next":
            count = at(state, args[0])
            result = Result("next number", site, (count,) if isinstance(count, Count) else ())
            self._note_count(frame, block, place, key, state, count)
        elif name.endswith("_next"):
            result = Result(name, site)
        self._return(state, result)
        return [(key, state)]

    def _note_count(self, frame: _Frame, block: int, place: int, key: Key, state: State, count: Value | None) -> None:
        loop = min(frame.flow.loops_around(block), key=lambda each: len(each.blocks), default=None)
        if loop is None or not isinstance(count, Count):
            return
        most = max((each.number for each in values.alternatives(count.end) if isinstance(each, Const)), default=0)
        start = count.start.number if isinstance(count.start, Const) else 0
        bound = signed(most) - signed(start)
        if bound > 0:
            where = (frame.chain, loop.head)
            self._loop_bounds[where] = max(bound, self._loop_bounds.get(where, 1))
            event = self._event(Repeats, key, state, (), times=self._times(frame, block))
            self._keep(event, (*frame.chain, place))

    def _note_walk(self, frame: _Frame, block: int, place: int, key: Key, state: State, queue: Value) -> None:
        loops = sorted(frame.flow.loops_around(block), key=lambda each: len(each.blocks))
        if not loops:
            return
        event = self._event(
            Repeats,
            key,
            state,
            (queue,),
            times=0,
            whole_queue=len(loops[0].exits) == 1 and block in loops[0].exits,
            nested=any(
                isinstance(each, Repeats) and each.root == self._root and each.whole_queue and where[:-1] == frame.chain
                for (_, _, where, _), each in self._events.items()
                if len(loops) > 1 and where[-1] != place
            ),
        )
        self._keep(event, (*frame.chain, place))

    def _call_helper(
        self, frame: _Frame, block: int, place: int, number: int, key: Key, state: State
    ) -> list[tuple[Key, State]]:
        site = (frame.program.name, place, 0)
        where = (*frame.chain, place)
        args = [state.value(each) for each in state.regs[1:6]]
        result: Value = Result(f"helper {number}", site)
        if number in (calls.LOOKUP, calls.PERCPU_LOOKUP):
            result = Result("element" if self._is_array(args[0]) else "lookup", site, (args[0],))
            number_in_map = at(state, args[1])
            if number_in_map is not None and values.mixes_tasks(number_in_map, calls.MOST_PROCESSES):
                self._keep(self._event(Mixed, key, state, (), to=place_labels(result)), where)
        elif number == calls.DELETE:
            self._note(Strike, key, state, where, (args[0],))
        elif number in (calls.STORAGE_GET, calls.CGROUP_STORAGE_GET):
            creates = isinstance(args[3], Const) and bool(args[3].number & calls.STORAGE_CREATE)
            self._keep(self._event(Recall, key, state, (args[0],), creates=creates), where)
            result = Result("create storage" if creates else self._storage(args[0]), site, (args[0],))
        elif number in calls.KTIME:
            result = Result("now", site)
        elif number in (calls.PUSH, calls.UPDATE):
            key = self._put_into_map(frame, place, number, args, key, state)
            result = Result("push", site, (args[0],))
        elif number == calls.POP:
            self._note(Taken, key, state, where, (args[0],))
            key = Key(key.placed, self._root not in _QUEUES_ITS_TASK, key.marks)
            result = Result("pop", site, (args[0],))
        elif number in (calls.RINGBUF_OUTPUT, calls.RINGBUF_SUBMIT, calls.KPTR_EXCHANGE):
            if number != calls.KPTR_EXCHANGE or self._keeps_task(state, args[1]):
                key = self._park(frame, place, key, state, None)
        elif number in (calls.LOOP, calls.FOR_EACH_ELEMENT):
            return self._repeat(frame, block, place, number, args, key, state)
        elif number == calls.TIMER_SET_CALLBACK and isinstance(args[1], Function):
            self._later.append(args[1].name)
        if isinstance(result, Result) and result.name == "create storage" and self._root in _BEFORE_ANY_QUEUE:
            made = frozenset(MADE + each.name for each in result.about if isinstance(each, MapAddress))
            key = Key(key.placed, key.holding, key.marks | made)
        if number in calls.WRITES_TO:
            put(state, args[calls.WRITES_TO[number]], 1, Unknown(site, frozenset((f"call:helper {number}",))))
        self._return(state, result)
        return [(key, state)]

    def _storage(self, value: Value) -> str:
        """Whether the state that is looked up was made for each task before."""
        return "storage" if isinstance(value, MapAddress) and value.name in self._made_for_each else "lookup"

    def _is_array(self, value: Value) -> bool:
        return isinstance(value, MapAddress) and self._maps[value.name].type in calls.ARRAYS

    def _put_into_map(self, frame: _Frame, place: int, number: int, args: list[Value], key: Key, state: State) -> Key:
        if not isinstance(args[0], MapAddress):
            return key
        stored = args[1 if number == calls.PUSH else 2]
        keeps = number == calls.PUSH
        if isinstance(stored, Stack):
            for (in_frame, offset), (_, value) in list(state.stack.items()):
                if in_frame == stored.frame and 0 <= offset - stored.offset < 256:
                    address = displaced(
                        Result("lookup", (frame.program.name, place, 1), (args[0],)), offset - stored.offset
                    )
                    self._note_store(frame, place, key, state, address, value)
                    keeps = keeps or self._keeps_task(state, value)
        if number == calls.UPDATE and isinstance(args[1], Stack):
            map_key = at(state, args[1])
            if map_key is not None and (labels(map_key) & values.NUMBERS_OF_TASKS or map_key == Argument(0)):
                self._note(Enter, key, state, (*frame.chain, place), (args[0],))
            keeps = keeps or (map_key is not None and self._keeps_task(state, map_key))
        return self._park(frame, place, key, state, args[0]) if keeps else key

    def _park(self, frame: _Frame, place: int, key: Key, state: State, into: Value | None) -> Key:
        if self._root not in _QUEUES_ITS_TASK:
            return Key(key.placed, False, key.marks)
        self._note(Parked, key, state, (*frame.chain, place), (into,) if into else ())
        return Key(True)

    def _repeat(
        self, frame: _Frame, block: int, place: int, number: int, args: list[Value], key: Key, state: State
    ) -> list[tuple[Key, State]]:
        """bpf_loop() and its like: the given function runs never, once, or more often."""
        site = (frame.program.name, place, 0)
        function = args[1]
        states: _States = {key: state}
        times = self._times(frame, block)
        if number == calls.LOOP:
            bound = max((each.number for each in values.alternatives(args[0]) if isinstance(each, Const)), default=0)
        else:
            entries = self._maps[args[0].name].max_entries if isinstance(args[0], MapAddress) else 0
            bound = entries
        times *= max(bound, 1)
        self._keep(self._event(Repeats, key, state, (), times=times if bound else 0), (*frame.chain, place))
        if isinstance(function, Function) and function.name in self._programs:
            saved = state.regs[6:11]
            once = number == calls.LOOP and isinstance(args[0], Const) and args[0].number > 0
            states = {} if once else {key: state.copy()}
            entry = {key: state}
            for _ in range(_LOOP_ROUNDS):
                for each in entry.values():
                    each.regs[1] = Unknown(site, frozenset(("loop",)))
                    each.regs[2:6] = [args[2], Unknown(site), args[2], Unknown(site)]
                chain = (*frame.chain, place)
                ends = self._run(self._programs[function.name], {k: s.copy() for k, s in entry.items()}, chain, times)
                for end_key, end in ends.items():
                    end.regs[6:11] = saved
                    if end_key in states:
                        states[end_key].meet(end, frame.program.name, place)
                    else:
                        states[end_key] = end.copy()
                entry = ends
        for each in states.values():
            self._return(each, Unknown(site))
        return list(states.items())

    # ---- noting

    def _keep(self, event: Event, where: tuple[int, ...]) -> None:
        self._events[type(event), self._root, where, event.key] = event

    def _note(
        self, kind: type[Event], key: Key, state: State, where: tuple[int, ...], about: tuple[Value, ...]
    ) -> None:
        self._keep(self._event(kind, key, state, about), where)

    def _event(
        self, kind: Callable[..., Event], key: Key, state: State, about: tuple[Value, ...], **more: object
    ) -> Event:
        return kind(
            root=self._root,
            line=state.line,
            key=key,
            steps=state.steps,
            decisions=state.decisions,
            values=about,
            **more,
        )


def _seems_lost(key: Key) -> bool:
    return not key.placed and STATELESS not in key.marks


def _made_on_all_ways(ends: _States) -> set[str]:
    """The maps in which each task has state that comes out of this callback without an error."""
    good = [key for key, state in ends.items() if _may_be_success(state.value(state.regs[0]))]
    if not good:
        return set()
    marks = frozenset.intersection(*(key.marks for key in good))
    return {each.removeprefix(MADE) for each in marks if each.startswith(MADE)}


def _may_be_success(returned: Value) -> bool:
    return not isinstance(returned, Const) or returned.number & 0xFFFFFFFF == 0


def _is_constant(variable: Global) -> bool:
    """Whether a variable never changes, and is known here: newer headers have some that the loader fills in."""
    if not variable.section.startswith(".rodata"):
        return False
    return not variable.is_const_volatile or variable.name in calls.FILLED_BY_LOADER


def _field_name(adapted: Adapted) -> str:
    structure = "task" if adapted.type_name == "task_struct" else adapted.type_name
    return ".".join((structure, *adapted.path))


def _address(base: Value, instruction: Instruction) -> Value:
    """Where a load or store goes."""
    if instruction.adapted and instruction.adapted.kind == _FIELD_OFFSET:
        return Field(base, _field_name(instruction.adapted))
    return displaced(base, instruction.off)


def _displaced_stack(address: Value, offset: int) -> Value:
    return Stack(address.frame, address.offset + offset) if isinstance(address, Stack) else address


def _may_be_own(task: Value) -> bool:
    """Whether a task may be the one that the callback is about; one that was looked up elsewhere is another."""
    if task == Argument(0) or isinstance(task, Unknown):
        return True
    if isinstance(task, Choice):
        return any(map(_may_be_own, task.alternatives))
    if isinstance(task, Result) and task.name in ("bpf_task_acquire", "bpf_rdonly_cast", "bpf_cast_to_kern_ctx"):
        return any(map(_may_be_own, task.about))
    return isinstance(task, Load) and not isinstance(task.address, Field)
